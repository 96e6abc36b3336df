"""Methods from outside the package: by module:Class and by entry point, checked as our own, imported only when used."""

import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import torch
from strategies import by_hand

from entroshape import GTPO, METHODS, Credit, Method, build_method
from entroshape.methods import method_name, method_names, method_options, nearest_option, success_threshold

MODULE = '''
from dataclasses import dataclass
from typing import Literal

from entroshape import GRPO, Credit, Method
from entroshape.credit.surrogate import ClippedSurrogate


@dataclass(frozen=True, kw_only=True)
class Scaled(GRPO):
    """GRPO's advantages times a factor."""

    scale: float = 2.0
    repeats: int = 1
    side: Literal["both", "one"] = "both"
    range: tuple[float, float] | None = None
    bold: bool = False

    def assign(self, rollouts, generator=None):
        credit = super().assign(rollouts, generator)
        return Credit(**{**vars(credit), "advantages": self.scale * credit.advantages})


@dataclass(frozen=True, kw_only=True)
class Required(GRPO):
    level: float


@dataclass(frozen=True, kw_only=True)
class Broken(GRPO):
    level: float = 1.0

    def __post_init__(self):
        {}[self.level]


@dataclass(frozen=True, kw_only=True)
class Quits(GRPO):
    def __post_init__(self):
        raise SystemExit(3)


@dataclass(frozen=True, kw_only=True)
class Refusing(GRPO):
    level: float = 1.0

    def __post_init__(self):
        if self.level > 1:
            raise ValueError(f"level must be at most 1; got {self.level}")


class Undecorated(GRPO):
    level: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Abstract(Method):
    pass


@dataclass(frozen=True, kw_only=True)
class OtherThreshold(GRPO):
    success_threshold: float = 0.9


def function():
    pass
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module ``their_methods`` in the current directory."""
    (tmp_path / "their_methods.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield "their_methods"
    sys.modules.pop("their_methods", None)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs packages that have nothing but entry points."""

    def installed(package, **points):
        folder = tmp_path / "site" / f"{package}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "".join(f"{name.replace('__', ' ')} = {value}\n" for name, value in points.items())
        (folder / "entry_points.txt").write_text(f"[entroshape.methods]\n{lines}")
        # Another path each time, as the entry points of a Python path are read once.
        monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), str(folder), *sys.path])

    return installed


def rollouts():
    return by_hand([[1.0, 2.0], [2.0, 1.0], [3.0, 1.0]], [1.0, 0.0, 0.0]).rollouts()


def test_a_class_is_built_by_module_and_name_with_its_options(module):
    method = build_method(f"{module}:Scaled", {"scale": 3, "range": [0.1, 0.2]})
    assert isinstance(method, Method)
    assert method.range == (0.1, 0.2)
    torch.testing.assert_close(
        method.advantages(rollouts()), 3 * build_method("grpo").advantages(rollouts()), atol=0, rtol=0
    )
    with pytest.raises(FrozenInstanceError):
        method.scale = 1.0


def test_name_and_options_build_the_same_method_again(module, install):
    install("theirs", scaled=f"{module}:Scaled")
    method = build_method(f"{module}:Scaled", {"scale": 3.0, "range": [0.1, 0.2]})
    assert method_name(method) == "scaled"
    assert method_options(method)["range"] == [0.1, 0.2]
    assert build_method(method_name(method), method_options(method)) == method
    assert method_name(build_method(f"{module}:Refusing")) == f"{module}:Refusing"
    assert [method_name(build_method(name)) for name in METHODS] == list(METHODS)


def test_an_entry_point_is_a_name_and_its_module_is_imported_only_when_the_name_is_used(module, install):
    install("theirs", scaled=f"{module}:Scaled", broken="no_such_module:Nothing")
    assert method_names() == [*METHODS, "sum", "broken", "scaled"]
    build_method("gtpo")
    with pytest.raises(ValueError, match=r"method must be one of .*scaled"):
        build_method("nothing")
    assert module not in sys.modules
    assert type(build_method("scaled", {"scale": 0.5})).__name__ == "Scaled"


@pytest.mark.slow
def test_the_name_of_a_built_in_method_imports_nothing_of_others(module, install):
    install("theirs", scaled=f"{module}:Scaled")
    code = (
        "import sys; from entroshape import build_method; build_method('gtpo'); print('their_methods' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Scaled", {"scala": 1.0}, "unknown option 'scala' of method '@:Scaled': did you mean scale\\? It has .*scale"),
        ("Scaled", {"scale": "row"}, "scale of @:Scaled must be a finite number; got 'row'"),
        ("Scaled", {"scale": True}, "scale of @:Scaled must be a finite number; got True"),
        ("Scaled", {"scale": float("nan")}, "scale of @:Scaled must be a finite number; got nan"),
        ("Scaled", {"repeats": 1.5}, "repeats of @:Scaled must be a whole number; got 1.5"),
        ("Scaled", {"side": "all"}, "side of @:Scaled must be one of 'both', 'one'; got 'all'"),
        ("Scaled", {"bold": 1}, "bold of @:Scaled must be True or False; got 1"),
        ("Scaled", {"range": 1}, "range of @:Scaled must be a list or None; got 1"),
        ("Scaled", {"epsilon_low": 2.0}, "method '@:Scaled': epsilon_low must be"),
        ("Required", {}, "level of @:Required has no default and must be given"),
        ("Refusing", {"level": 2.0}, "method '@:Refusing': level must be at most 1; got 2.0"),
        ("Broken", {}, r"'@:Broken' cannot be built from its options: KeyError: 1.0 \(@.py, line \d+\)"),
        ("Quits", {}, "method '@:Quits' cannot be built from its options: SystemExit: 3"),
        ("Undecorated", {}, r"'@:Undecorated' must have the decorator .dataclass\(frozen=True, kw_only=True\)"),
        ("Abstract", {}, "method '@:Abstract' must define assign and surrogate; Abstract does not"),
        ("OtherThreshold", {}, "'@:OtherThreshold' must keep success_threshold=0.5.*got the default 0.9"),
        ("function", {}, "method '@:function' must be a subclass of entroshape.Method; got <function"),
        ("scaled", {}, "module '@' .* has no 'scaled'; did you mean Scaled?"),
        ("Scaled:more", {}, "expected module:name"),
    ],
)
def test_what_is_no_method_or_no_option_is_refused_in_one_sentence(module, name, options, message):
    with pytest.raises(ValueError, match=message.replace("@", module)) as caught:
        build_method(f"{module}:{name}", options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
        ("raise SystemExit('enough')", "cannot be imported: SystemExit: enough"),
        ("def (", "cannot be imported: SyntaxError"),
        ("import no_such_library", "cannot be imported: ModuleNotFoundError: No module named 'no_such_library'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_refused_by_name_and_by_entry_point(module, install, code, message):
    install("theirs", damaged="their_damaged:Method")
    Path("their_damaged.py").write_text(code)
    for name in ("their_damaged:Method", "damaged"):
        with pytest.raises(ValueError, match=f"module 'their_damaged' {message}"):
            build_method(name)


def test_two_entry_points_of_one_name_are_refused_and_both_are_named(module, install):
    install("first", mine=f"{module}:Scaled")
    install("second", mine=f"{module}:Refusing")
    with pytest.raises(ValueError, match="'mine' has several entry points") as caught:
        build_method("mine")
    assert all(part in str(caught.value) for part in ("Scaled of first", "Refusing of second"))


def test_an_entry_point_that_shadows_a_built_in_name_is_refused_where_the_name_is_used(module, install):
    install("theirs", gtpo=f"{module}:Scaled")
    with pytest.raises(ValueError, match=f"method 'gtpo' is built in, .*shadows it: {module}:Scaled of theirs"):
        build_method("gtpo")
    assert build_method("dapo").name == "dapo"
    assert GTPO().alpha2 == 0.1


def test_an_entry_point_whose_name_no_command_line_could_hold_is_refused(module, install):
    install("theirs", my__method=f"{module}:Scaled")
    with pytest.raises(ValueError, match=r"'my method' .*names of entry points may have letters"):
        build_method("my method")


@pytest.mark.parametrize(
    ("name", "near"),
    [("gpto", "gtpo"), ("summ", "sum"), ("GRPO", "grpo"), ("grpos", "grpo_s"), ("dapo_fork", "dapo_forking")],
)
def test_a_typo_in_a_name_is_answered_with_the_nearest_one(name, near):
    with pytest.raises(ValueError, match=rf"got '{name}': did you mean {near}\?"):
        build_method(name)


@pytest.mark.parametrize(
    ("method", "option", "near"),
    [
        ("grpo_s", "alpha2", "beta2"),
        ("grpo_s", "alpha1", "beta1"),
        ("gtpo", "beta2", "alpha2"),
        ("gtpo_uniform", "beta1", "alpha1"),
        ("gtpo", "alfa2", "alpha2"),
        ("grpo", "epsilon", "epsilon_low"),
        ("dapo_forking", "quantil", "quantile"),
    ],
)
def test_a_wrong_option_is_answered_with_the_one_of_the_same_role_or_the_nearest(method, option, near):
    with pytest.raises(ValueError, match=rf"unknown option '{option}' of method '{method}': did you mean {near}\? It"):
        build_method(method, {option: 0.1})


def test_an_option_with_a_role_that_the_method_lacks_is_answered_by_its_name_alone():
    assert nearest_option("dapo", "alpha2") == ""
    with pytest.raises(ValueError, match="unknown option 'alpha2' of method 'dapo'; it has "):
        build_method("dapo", {"alpha2": 0.1})


def test_the_success_threshold_of_a_method_is_known_without_importing_it(module):
    assert success_threshold(f"{module}:Scaled", {}) == build_method(f"{module}:Scaled").success_threshold
    assert success_threshold(f"{module}:Scaled", {"success_threshold": 0.8}) == 0.8
    assert module in sys.modules
    assert success_threshold("nothing_there:Method", {}) == 0.5
    with pytest.raises(ValueError, match="success_threshold must be a finite number"):
        success_threshold("gtpo", {"success_threshold": "high"})


def test_credit_of_a_foreign_method_is_credit(module):
    assert isinstance(build_method(f"{module}:Scaled").assign(rollouts()), Credit)
