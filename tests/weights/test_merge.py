"""``entroshape merge``: mixtures of saved models as models, and what is refused."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from saved_models import changed, edited, saved, saved_adapter, tensors, tiny_model
from transformers import AutoModelForCausalLM

from entroshape.assets import bundled_model_path
from entroshape.cli import main
from entroshape.weights import mixed

pytestmark = pytest.mark.slow

TOKENS = torch.arange(3, 12)[None]


def merge(*arguments):
    return main(["merge", *map(str, arguments)])


def refused(capsys, *arguments):
    """The message of a merge that is refused."""
    capsys.readouterr()
    try:
        status = merge(*arguments)
    except SystemExit as stop:  # of the parser of options, which also breaks lines
        status = stop.code
    assert status == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in said
    return said


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def logits(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(TOKENS).logits.detach()


@pytest.mark.parametrize("shards", [("1GB", "1GB"), ("9KB", "1GB"), ("1GB", "9KB"), ("9KB", "20KB")])
def test_a_mixture_is_the_same_however_the_models_are_sharded(tmp_path, shards):
    start = saved(tmp_path / "start", 0, shards[0])
    trained = saved(tmp_path / "trained", 1, shards[1])
    assert merge(start, trained, "--weight", "0.3", "--output", tmp_path / "mix", "--max-shard-size", "15KB") == 0
    expected = mixed(tensors(start), tensors(trained), 0.3)
    assert equal(tensors(tmp_path / "mix"), expected)
    index = json.loads((tmp_path / "mix/model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(expected)
    assert index["metadata"]["total_size"] == sum(4 * tensor.numel() for tensor in expected.values())
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "mix").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())


def test_several_weights_give_a_model_each_beside_the_trained_one(tmp_path):
    start, trained = saved(tmp_path / "start", 0), saved(tmp_path / "trained", 1)
    assert merge(start, trained, "--weight", "0.25,0.5") == 0
    for share in (0.25, 0.5):
        assert equal(tensors(tmp_path / f"trained-mix-{share}"), mixed(tensors(start), tensors(trained), share))
    assert merge(start, trained, "--weight", "0.25,0.5", "--output", tmp_path / "both") == 0
    assert sorted(path.name for path in (tmp_path / "both").iterdir()) == ["mix-0.25", "mix-0.5"]
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mixture_has_the_data_type_of_the_trained_model_and_is_computed_in_float32(tmp_path, dtype):
    start = saved(tmp_path / "start", 0, dtype=dtype)
    trained = saved(tmp_path / "trained", 1, dtype=torch.bfloat16)
    assert merge(start, trained, "--weight", "0.4", "--output", tmp_path / "mix") == 0
    for name, tensor in tensors(tmp_path / "mix").items():
        first, second = tensors(start)[name].double(), tensors(trained)[name].double()
        assert tensor.dtype == torch.bfloat16
        expected = 0.6 * first + 0.4 * second
        assert ((tensor.double() - expected).abs() <= 2**-8 * expected.abs() + 1e-6).all()  # rounded once
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "mix").dtype == torch.bfloat16


def test_tokenizer_and_configuration_come_along_and_no_other_file_does(tmp_path):
    trained = shutil.copytree(bundled_model_path(), tmp_path / "trained")
    changed(trained, lambda weights: [weight.mul_(1.5) for weight in weights.values()])
    for name in ("optimizer.pt", "trainer_state.json", "ema.safetensors", "modeling.py", "complete.json"):
        (trained / name).write_text("x")
    assert merge("countdown-tiny", trained, "--weight", "0.5", "--output", tmp_path / "mix") == 0
    theirs = {path.name for path in bundled_model_path().iterdir()} - {"README.md"}
    assert {path.name for path in (tmp_path / "mix").iterdir()} == theirs
    for name in theirs - {"model.safetensors"}:
        assert (tmp_path / "mix" / name).read_bytes() == (trained / name).read_bytes()


def test_a_mixture_with_an_adapter_adds_its_contribution_times_the_share(tmp_path):
    start = saved(tmp_path / "start", 0)
    adapter = saved_adapter(tmp_path / "adapter", start)
    assert merge(start, adapter, "--weight", "0.3", "--output", tmp_path / "mix") == 0
    whole = PeftModel.from_pretrained(tiny_model(0), adapter).merge_and_unload().state_dict()
    mixture = PeftModel.from_pretrained(tiny_model(0), tmp_path / "mix").merge_and_unload().state_dict()
    first = tiny_model(0).state_dict()
    assert any(not torch.equal(first[name], whole[name]) for name in first)
    for name, tensor in mixture.items():
        expected = 0.7 * first[name].double() + 0.3 * whole[name].double()
        torch.testing.assert_close(tensor.double(), expected, atol=1e-7, rtol=1e-6)
    before = {name: torch.zeros_like(w) if "lora_B" in name else w for name, w in tensors(adapter).items()}
    assert equal(tensors(tmp_path / "mix"), mixed(before, tensors(adapter), 0.3))


@pytest.mark.parametrize("twice", ["start", "trained"])
def test_tied_weights_may_be_in_one_file_once_and_in_the_other_twice(tmp_path, twice):
    start, trained = saved(tmp_path / "start", 0), saved(tmp_path / "trained", 1)
    expected = mixed(tensors(start), tensors(trained), 0.5)
    folder = {"start": start, "trained": trained}[twice]
    changed(folder, lambda weights: weights.update({"lm_head.weight": weights["model.embed_tokens.weight"].clone()}))
    assert merge(start, trained, "--weight", "0.5", "--output", tmp_path / "mix") == 0
    mixture = tensors(tmp_path / "mix")
    head = mixture.pop("lm_head.weight", expected["model.embed_tokens.weight"])
    assert equal(mixture, expected)
    assert torch.equal(head, expected["model.embed_tokens.weight"])
    assert ("lm_head.weight" in tensors(tmp_path / "mix")) == (twice == "trained")


def test_tied_weights_that_differ_are_refused(tmp_path, capsys):
    start, trained = saved(tmp_path / "start", 0), saved(tmp_path / "trained", 1)
    changed(start, lambda weights: weights.update({"lm_head.weight": weights["model.embed_tokens.weight"] + 1}))
    said = refused(capsys, start, trained, "--weight=0.5")
    assert "lm_head.weight and model.embed_tokens.weight are tied in config.json, but differ" in said


def test_models_that_do_not_fit_together_are_refused_by_name(tmp_path, capsys):
    start = saved(tmp_path / "start", 0)
    assert "are the same directory" in refused(capsys, start, tmp_path / "start/../start", "--weight=0.5")
    other = saved(tmp_path / "wide", 1, intermediate_size=48)
    assert "intermediate_size is 64 and 48" in refused(capsys, start, other, "--weight=0.5")
    lost = changed(saved(tmp_path / "lost", 1), lambda weights: weights.pop("model.norm.weight"))
    said = refused(capsys, start, lost, "--weight=0.5")
    assert f"TRAINED ({lost}) lacks 1 of the weights in START ({start}): 'model.norm.weight'" in said
    said = refused(capsys, lost, start, "--weight=0.5")
    assert f"START ({lost}) lacks 1 of the weights in TRAINED ({start}): 'model.norm.weight'" in said
    bent = changed(saved(tmp_path / "bent", 1), lambda weights: weights.update({"model.norm.weight": torch.ones(31)}))
    said = refused(capsys, start, bent, "--weight=0.5")
    assert "model.norm.weight is [32] in START" in said
    assert "and [31] in TRAINED" in said
    quantized = saved(tmp_path / "quantized", 1)
    edited(quantized / "config.json", quantization_config={"quant_method": "fp8"})
    assert "is quantized" in refused(capsys, start, quantized, "--weight=0.5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bent", "lost", "quantized", "start", "wide"]


def test_adapters_of_which_no_mixture_exists_are_refused(tmp_path, capsys):
    start, other = saved(tmp_path / "start", 0), saved(tmp_path / "other", 1)
    adapter = saved_adapter(tmp_path / "adapter", start)
    assert "START must be a whole model" in refused(capsys, adapter, start, "--weight=0.5")
    said = refused(capsys, other, adapter, "--weight=0.5")
    assert f"base_model_name_or_path must be START, '{other}'; got '{start}'" in said
    options = {"bias": "all", "use_dora": True, "modules_to_save": ["lm_head"], "init_lora_weights": "pissa"}
    for name, value in {**options, "peft_type": "IA3"}.items():
        broken = shutil.copytree(adapter, tmp_path / name)
        edited(broken / "adapter_config.json", **{name: value})
        assert name in refused(capsys, start, broken, "--weight=0.5")
    extra = shutil.copytree(adapter, tmp_path / "extra")
    file = extra / "adapter_model.safetensors"
    save_file({**load_file(file), "base_model.model.lm_head.weight": torch.ones(2)}, file)
    assert "'base_model.model.lm_head.weight'" in refused(capsys, start, extra, "--weight=0.5")


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        ("0", "(0, 1)"), ("1", "(0, 1)"), ("1.3", "got 1.3"), ("-0.5", "got -0.5"), ("nan", "got nan"),
        ("x", "got 'x'"), ("", "got ''"), ("0.5,", "got ''"),
        ("0.5,0.5", "got 0.5 more than once"), ("0.5;0.7", "got '0.5;0.7'"),
    ],
)  # fmt: skip
def test_a_share_that_is_no_mixture_is_refused(tmp_path, capsys, weight, words):
    start, trained = saved(tmp_path / "start", 0), saved(tmp_path / "trained", 1)
    assert words in refused(capsys, start, trained, f"--weight={weight}")
    assert not list(tmp_path.glob("*mix*"))


def test_an_output_that_exists_is_left_alone(tmp_path, capsys):
    start, trained = saved(tmp_path / "start", 0), saved(tmp_path / "trained", 1)
    (tmp_path / "trained-mix-0.7").mkdir()
    assert "trained-mix-0.7 already exists" in refused(capsys, start, trained, "--weight=0.5,0.7")
    assert not (tmp_path / "trained-mix-0.5").exists()
    for output in (trained, start / "config.json"):
        assert "already exists" in refused(capsys, start, trained, "--weight=0.5", f"--output={output}")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    assert "already exists" in refused(capsys, start, trained, "--weight=0.5", f"--output={tmp_path / 'broken'}")


def test_weights_in_other_formats_are_never_opened(tmp_path, capsys):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    start, trained = saved(tmp_path / "start", 0), saved(tmp_path / "trained", 1)
    for folder in (start, trained):
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    assert merge(start, trained, "--weight=0.5", f"--output={tmp_path / 'mix'}") == 0
    assert not (tmp_path / "mix/pytorch_model.bin").exists()
    (trained / "model.safetensors").unlink()
    said = refused(capsys, start, trained, "--weight=0.5")
    assert f"{trained} has no model.safetensors: only weights in safetensors are read" in said
    assert not (tmp_path / "exploded").exists()


def damage_index(folder, change):
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    change(content)
    index.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["weight_map"].update(x="../start/model-00001-of-00003.safetensors"), "in a .safetensors file"),
        (lambda c: c["weight_map"].update(x="/etc/passwd"), "in a .safetensors file beside it; got '/etc/passwd'"),
        (lambda c: c["weight_map"].update(x=["a"]), "in a .safetensors file beside it; got ['a']"),
        (lambda c: c["weight_map"].update(x="pytorch_model.bin"), "in a .safetensors file beside it"),
        (lambda c: c["weight_map"].update(x="gone.safetensors"), "names 'gone.safetensors', which does not exist"),
        (lambda c: c["weight_map"].update(x=c["weight_map"]["model.norm.weight"]), "lacks 'x'"),
        (lambda c: c.update(weight_map=[1]), "must hold a weight_map"),
        (lambda c: c.pop("weight_map"), "must hold a weight_map"),
    ],
)
def test_a_hostile_index_leads_nowhere(tmp_path, capsys, change, words):
    start, trained = saved(tmp_path / "start", 0), saved(tmp_path / "trained", 1, "9KB")
    damage_index(trained, change)
    assert words in refused(capsys, start, trained, "--weight=0.5")
    assert not (tmp_path / "trained-mix-0.5").exists()


def test_damaged_files_are_refused_by_name(tmp_path, capsys):
    start, trained = saved(tmp_path / "start", 0), saved(tmp_path / "trained", 1)
    whole = (trained / "model.safetensors").read_bytes()
    for damaged in (whole[:-3], whole[:50], b"", b"\xff" * 200):
        (trained / "model.safetensors").write_bytes(damaged)
        assert "trained/model.safetensors cannot be read: " in refused(capsys, start, trained, "--weight=0.5")
    (trained / "model.safetensors").write_bytes(whole)
    for text in ("{", "[]", '"x"', "{}", '{"model_type": "nope"}', '{"model_type": ["llama"]}'):
        (start / "config.json").write_text(text)
        assert str(start) in refused(capsys, start, trained, "--weight=0.5")


def test_a_model_that_diverged_is_not_mixed_and_nothing_is_left(tmp_path, capsys):
    start, trained = saved(tmp_path / "start", 0), saved(tmp_path / "trained", 1)
    changed(trained, lambda weights: weights["model.norm.weight"].fill_(float("nan")))
    assert merge(start, trained, "--weight=0.5") == 1
    assert "model.norm.weight is not finite: START or TRAINED has diverged" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["start", "trained"]


KILLED = """
import os, signal, sys
from entroshape.weights import merging
write = merging.write_weights
def killed(path, *rest):
    write(path, *rest)
    os.kill(os.getpid(), signal.SIGKILL)
merging.write_weights = killed
from entroshape.cli import main
main(["merge", *sys.argv[1:]])
"""


def test_a_kill_leaves_no_half_model_and_the_same_command_completes_it(tmp_path):
    start, trained = saved(tmp_path / "start", 0), saved(tmp_path / "trained", 1)
    arguments = [str(start), str(trained), "--weight=0.5", "--max-shard-size=9KB"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "trained-mix-0.5").exists()
    assert [path.is_dir() for path in tmp_path.glob(".*")] == [True]
    assert merge(*arguments) == 0
    assert equal(tensors(tmp_path / "trained-mix-0.5"), mixed(tensors(start), tensors(trained), 0.5))
    assert not list(tmp_path.glob(".*"))


MEASURED = """
import re, sys
from entroshape.cli import main
*models, output = sys.argv[1:]
sizes = []
for number, size in enumerate(("20MB", "60MB")):
    # The first mixture loads libraries; the second is measured.
    assert main(["merge", *models[2 * number:2 * number + 2], "--weight=0.5", f"--output={output}-{number}",
                 f"--max-shard-size={size}"]) == 0
    # The peak of this process. That of getrusage begins as the one of the process that started it.
    sizes.append(int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1e3)
print(sizes[1] - sizes[0])
"""


def test_memory_holds_one_file_of_the_mixture_and_a_few_tensors(tmp_path):
    # 40 tensors of 10 MB: 400 MB per model, in one file, mixed into files of at most 60 MB.
    models = [saved(tmp_path / "small-start", 0), saved(tmp_path / "small-trained", 1)]
    for number, name in enumerate(("start", "trained")):
        folder = saved(tmp_path / name, number)
        save_file(
            {f"w{i}": torch.full((2_500_000,), float(i + number)) for i in range(40)}, folder / "model.safetensors"
        )
        models.append(folder)
    child = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, models), str(tmp_path / "mix")],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    grown = float(child.stdout.split()[-1])
    assert 60 < grown < 60 + 5 * 10
    assert len(list((tmp_path / "mix-1").glob("*.safetensors"))) == 7
    assert all(
        tensor.unique().tolist() == [int(name[1:]) + 0.5] for name, tensor in tensors(tmp_path / "mix-1").items()
    )
