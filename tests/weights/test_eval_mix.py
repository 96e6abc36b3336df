"""``entroshape eval --mix``: a mixture is evaluated without being written, as if it were."""

import json
import shutil

import pytest
import torch
from saved_models import changed, edited, saved_adapter

from entroshape.assets import bundled_model_path
from entroshape.cli import main

pytestmark = pytest.mark.slow

FEW = ["--problems=4", "--samples=4", "--device=cpu", "--json"]


@pytest.fixture
def trained(tmp_path):
    """The bundled model after what might have been training."""
    generator = torch.Generator().manual_seed(0)

    def moved(weights):
        for weight in weights.values():
            weight.add_(0.02 * torch.randn(weight.shape, generator=generator))

    return changed(shutil.copytree(bundled_model_path(), tmp_path / "trained"), moved)


def rows(capsys, output, *arguments):
    from pyarrow.parquet import read_table

    capsys.readouterr()
    assert main(["eval", *FEW, f"--output={output}", *map(str, arguments)]) == 0
    json.loads(capsys.readouterr().out)
    return read_table(output).to_pylist()


@pytest.mark.parametrize("kind", ["whole", "adapter"])
def test_a_mixture_that_is_not_written_is_evaluated_as_the_written_one(tmp_path, trained, capsys, kind):
    if kind == "adapter":
        shutil.copy(bundled_model_path() / "tokenizer.json", tmp_path)
        adapter = saved_adapter(tmp_path / "adapter", bundled_model_path())
        for file in bundled_model_path().glob("tokenizer*"):
            shutil.copy(file, adapter)
        trained = adapter
    assert main(["merge", "countdown-tiny", str(trained), "--weight=0.6", f"--output={tmp_path / 'mix'}"]) == 0
    written = rows(capsys, tmp_path / "written.parquet", "--model", tmp_path / "mix")
    mixed = rows(capsys, tmp_path / "mixed.parquet", "--model=countdown-tiny", f"--mix={trained}:0.6")
    assert mixed == written
    ends = [rows(capsys, tmp_path / f"{n}.parquet", "--model", model) for n, model in enumerate(["bundled", trained])]
    assert mixed not in ends


def test_the_mixture_is_part_of_the_default_name_and_of_what_must_be_the_same(tmp_path, trained, capsys, monkeypatch):
    from entroshape.evaluation.options import EvalConfig

    path = EvalConfig(mix="runs/a/model:0.5").path
    assert str(path) == "eval/countdown-countdown-tiny-0-mix-runs-a-model-0.5.parquet"
    output = tmp_path / "one.parquet"
    rows(capsys, output, f"--mix={trained}:0.5")
    changed(trained, lambda weights: weights["model.norm.weight"].mul_(2))
    for mix, word in ((f"--mix={trained}:0.5", "weights of the mixed model"), (f"--mix={trained}:0.6", "mix is")):
        assert main(["eval", *FEW, f"--output={output}", mix]) == 2
        assert word in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        ("x", "mix must be TRAINED:a"), ("x:", "share must be a number"), (":0.5", "mix must be TRAINED:a"),
        ("x:1", "(0, 1)"), ("x:1.3", "(0, 1)"), ("x:nan", "(0, 1)"), ("./nowhere:0.5", "nowhere does not exist"),
        ("countdown-tiny:0.5", "are the same directory"), ("countdown-search:0.5", "different architectures"),
    ],
)  # fmt: skip
def test_a_mixture_that_does_not_exist_is_refused(tmp_path, capsys, mix, words):
    try:
        status = main(["eval", *FEW, f"--output={tmp_path / 'e.parquet'}", f"--mix={mix}"])
    except SystemExit as stop:  # of the parser of options
        status = stop.code
    assert status == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_an_adapter_of_another_model_and_vllm_are_refused(tmp_path, trained, capsys):
    adapter = saved_adapter(tmp_path / "adapter", bundled_model_path())
    edited(adapter / "adapter_config.json", base_model_name_or_path=str(trained))
    assert main(["eval", *FEW, f"--output={tmp_path / 'e.parquet'}", f"--mix={adapter}:0.5"]) == 2
    assert "base_model_name_or_path must be START" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["eval", "--engine=vllm", f"--mix={trained}:0.5"])
    assert "entroshape merge" in " ".join(capsys.readouterr().err.split())
