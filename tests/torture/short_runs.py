"""Commands of a few seconds, and what is expected of them."""

from pathlib import Path

from entroshape.cli import main

SMALL = ["--steps=3", "--prompts-per-step=2", "--num-generations=4", "--train-size=20", "--eval-problems=2",
         "--eval-samples=1", "--save-every=1", "--rollouts-every=1", "--max-refills=1", "--device=cpu"]  # fmt: skip
EVAL = ["eval", "--problems=4", "--samples=1", "--batch-size=1", "--device=cpu"]
COMPARE = ["compare", "--methods=dapo", "--seeds=1", *SMALL]


def weights(run):
    return (Path(run) / "model" / "model.safetensors").read_bytes()


def refused(arguments, capsys, *, words, status=(1,)):
    """The one sentence that a command ended with."""
    capsys.readouterr()
    got = main([*map(str, arguments)])
    said = capsys.readouterr().err
    own = [line for line in said.splitlines() if line.startswith("entroshape: ")]
    assert got in status, (arguments, got, said[-500:])
    assert len(own) == 1, said
    assert "Traceback" not in said, said
    assert any(str(word) in own[0] for word in words), own[0]
    return own[0]
