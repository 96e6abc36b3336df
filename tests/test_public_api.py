"""Public signatures, pinned: a name or a default that changes here breaks somebody's script."""

import ast
import dataclasses
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import entroshape

SHARED = {
    "normalization": "zero_filled",
    "comparison_scope": "group",
    "normalization_scope": "group",
    "mean": "arithmetic",
    "entropy_clip": None,
    "entropy_floor": 1e-6,
    "signal": "entropy",
    "gate": True,
    "success_threshold": 0.5,
    "failure_reward": -1.0,
    "overlong": None,
    "epsilon_low": 0.2,
    "epsilon_high": 0.28,
}
OPTIONS = {
    "GTPO": {"alpha1": 1.0, "alpha2": 0.1, "axis": "column", "failure_signal": "inverse", **SHARED},
    "GRPOS": {
        "beta1": 1.0,
        "beta2": 0.1,
        "sequence_entropy_mean": "arithmetic",
        "ratio": "sequence_arithmetic",
        **SHARED,
    },
    "GRPO": {"success_threshold": 0.5, "overlong": None, "epsilon_low": 0.2, "epsilon_high": 0.2},
    "DAPO": {
        "aggregation": "token_mean",
        "success_threshold": 0.5,
        "failure_reward": -1.0,
        "overlong": None,
        "epsilon_low": 0.2,
        "epsilon_high": 0.28,
    },
    "ForkingTokens": {
        "quantile": 0.2,
        "aggregation": "token_mean",
        "success_threshold": 0.5,
        "failure_reward": -1.0,
        "overlong": None,
        "epsilon_low": 0.2,
        "epsilon_high": 0.28,
    },
    "GroupRelativeOverlong": {"gamma1": 0.75, "hard": None},
    "SoftOverlong": {"max_length": inspect.Parameter.empty, "cache": inspect.Parameter.empty},
}
REQUIRED = inspect.Parameter.empty
FUNCTIONS = {
    "entroshape.credit.surrogate:clipped_surrogate": (
        ["logprobs", "old_logprobs", "advantages", "mask"],
        {
            "ratio": "token",
            "epsilon_low": 0.2,
            "epsilon_high": 0.28,
            "aggregation": "token_mean",
            "normalizer": None,
        },
    ),
    "entroshape.credit.entropy:logprob_and_entropy": (["logits", "tokens"], {"temperature": 1.0, "chunk": ...}),
    "entroshape.credit.entropy:linear_logprob_and_entropy": (
        ["hidden", "weight", "tokens"],
        {"temperature": 1.0, "bias": None, "chunk": ...},
    ),
    "entroshape.credit.comparison:comparison_weights": (
        ["values", "mask", "sets"],
        {"axis": "column", "mean": "arithmetic"},
    ),
    "entroshape.evaluation:pass_at_k": (["n", "c", "k"], {}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_keyword_only_with_the_documented_names_and_defaults(name):
    parameters = inspect.signature(getattr(entroshape, name)).parameters
    assert {p.kind for p in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert {key: p.default for key, p in parameters.items()} == OPTIONS[name]


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_frozen_hashable_and_comparable(name):
    cls = getattr(entroshape, name)
    assert cls.__dataclass_params__.frozen
    value = cls(max_length=10, cache=2) if name == "SoftOverlong" else cls()
    assert value == dataclasses.replace(value)
    assert hash(value) == hash(dataclasses.replace(value))


def test_rollouts_take_the_documented_arguments_by_keyword():
    parameters = inspect.signature(entroshape.Rollouts).parameters
    assert {p.kind for p in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert {key: p.default for key, p in parameters.items()} == {
        "rewards": REQUIRED,
        "entropies": None,
        "mask": REQUIRED,
        "group": REQUIRED,
        "logprobs": None,
        "success": None,
    }


def test_credit_holds_the_documented_fields():
    assert [field.name for field in dataclasses.fields(entroshape.Credit)] == [
        "shaped_rewards",
        "advantages",
        "loss_mask",
        "success",
        "gated",
        "outcome_rewards",
        "coefficient",
    ]


@pytest.mark.parametrize("path", FUNCTIONS)
def test_functions_take_the_documented_arguments(path):
    module, name = path.split(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    positional, keywords = FUNCTIONS[path]
    assert [k for k, p in parameters.items() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD] == positional
    options = {k: p.default for k, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert options.keys() == keywords.keys()
    assert all(options[k] == default for k, default in keywords.items() if default is not ...)


@pytest.mark.parametrize("name", ["assign", "shaped_rewards", "advantages"])
def test_every_method_takes_rollouts_and_an_optional_generator(name):
    for cls in entroshape.METHODS.values():
        parameters = inspect.signature(getattr(cls, name)).parameters
        assert list(parameters) == ["self", "rollouts", "generator"]
        assert parameters["generator"].default is None


def test_everything_in_all_exists_and_is_documented():
    for name in entroshape.__all__:
        value = getattr(entroshape, name)
        if not isinstance(value, dict):
            assert inspect.getdoc(value), name


def test_every_public_name_is_found_where_it_lives_and_listed():
    stub = ast.parse(Path(entroshape.__file__).with_suffix(".pyi").read_text())
    homes = {alias.name: each.module for each in stub.body if isinstance(each, ast.ImportFrom) for alias in each.names}
    assert sorted(homes) == sorted(entroshape.__all__)
    for name, home in homes.items():
        assert getattr(entroshape, name) is getattr(importlib.import_module(f"entroshape.{home}"), name)
    assert set(entroshape.__all__) <= set(dir(entroshape))
    with pytest.raises(AttributeError, match="GTP0"):
        entroshape.GTP0  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("command", ["", "train", "eval", "compare", "inspect", "report"])
def test_help_waits_for_no_heavy_library(command):
    arguments = [*command.split(), "--help"]
    code = f"""
import sys
from entroshape.cli import main
try:
    main({arguments})
except SystemExit as done:  # the argument parser's own way out
    assert done.code == 0
print(sorted({{"torch", "numpy", "pyarrow", "datasets", "transformers"}} & sys.modules.keys()))
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.endswith("[]\n")


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize(
    ("folder", "own"),
    [
        ("credit", ("entroshape.checks", "entroshape.credit")),
        (
            "methods",
            ("entroshape.checks", "entroshape.credit", "entroshape.methods", "entroshape.names", "entroshape.rollouts"),
        ),
    ],
)
def test_the_core_imports_torch_and_nothing_of_engines_or_tasks(folder, own):
    files = sorted((Path(entroshape.__file__).parent / folder).glob("*.py"))
    assert files
    for path in files:
        for module in imported_modules(path):
            root = module.split(".")[0]
            assert root in sys.stdlib_module_names or root == "torch" or module.startswith(own), f"{path}: {module}"


@pytest.mark.slow
def test_importing_the_package_brings_in_no_engine():
    code = (
        "import sys, torch; before = set(sys.modules); import entroshape; "
        "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    third_party = set(output.split()) - sys.stdlib_module_names - {"entroshape", "torch", "lazy_loader"}
    assert not third_party
