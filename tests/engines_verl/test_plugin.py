"""How verl finds us: light where nobody needs it, loud where it fails."""

import os
import re
import subprocess
import sys
from importlib.metadata import version

import pytest
import verl
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, POLICY_LOSS_REGISTRY
from verl.trainer.ppo.v1 import get_trainer_cls
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from entroshape.engines.verl import ESTIMATORS
from entroshape.engines.verl.estimators import register_estimators
from entroshape.engines.verl.losses import register_losses
from entroshape.engines.verl.options import loss_mode
from entroshape.engines.verl.plugin import loudly
from entroshape.engines.verl.seams import SEAMS, check_seams, check_version, installed_version
from entroshape.engines.verl.trainer import require_mode


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, timeout=300
    )


def test_verl_has_our_estimators_losses_and_trainer_mode_by_being_imported():
    assert set(ESTIMATORS) <= set(ADV_ESTIMATOR_REGISTRY)
    ratios = ("token", "sequence_arithmetic", "sequence_geometric")
    assert {loss_mode(ratio) for ratio in ratios} <= set(POLICY_LOSS_REGISTRY)
    assert issubclass(get_trainer_cls("entroshape_sync"), PPOTrainerSync)


def test_import_verl_alone_loads_nothing_of_verls_trainers():
    done = run("import sys, verl; print('verl.trainer.ppo.core_algos' in sys.modules)", VERL_USE_EXTERNAL_MODULES="")
    assert done.stdout.strip().endswith("False"), done.stderr


def test_a_plug_in_that_cannot_register_stops_the_import_and_says_why():
    code = (
        "import entroshape.engines.verl.seams as seams\n"
        "seams.SUPPORTED = 'verl>=99'\n"
        "import verl.trainer.ppo.core_algos"
    )
    done = run(code)
    assert done.returncode != 0
    assert "entroshape could not register with verl" in done.stderr
    assert "supports verl>=99; found verl 0.9" in done.stderr
    assert "VERL_USE_EXTERNAL_PLUGINS=none" in done.stderr
    assert run("import verl.trainer.ppo.core_algos", VERL_USE_EXTERNAL_PLUGINS="none").returncode == 0


def test_a_dependency_that_is_missing_is_an_error_of_the_log_though_verl_swallows_it():
    done = run("import sys; sys.modules['wrapt.importer'] = None; import verl; print('went on')")
    assert "went on" in done.stdout, done.stderr
    assert re.search(r"entroshape could not register with verl .*wrapt\.importer.*VERL_USE_EXTERNAL", done.stderr)


EARLY = """
import entroshape.engines.verl.seams as seams
seams.SUPPORTED = "verl>=99"
import verl.trainer.ppo.core_algos  # before the plug-in is loaded, which therefore registers at once
"""


def test_a_registration_that_fails_inside_verls_own_try_is_logged_and_there_is_no_trainer_mode_without_it(tmp_path):
    (tmp_path / "early.py").write_text(EARLY)
    environment = {
        "VERL_USE_EXTERNAL_MODULES": "verl_on_cpu,early",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]),
    }
    done = run("import verl; print('went on')", **environment)
    assert "went on" in done.stdout, done.stderr
    assert "entroshape could not register with verl (verl.trainer.ppo.core_algos)" in done.stderr
    done = run("import verl, verl.trainer.ppo.core_algos, verl.trainer.ppo.v1", **environment)
    assert done.returncode != 0
    assert "entroshape could not register with verl (verl.trainer.ppo.v1.trainer_sync)" in done.stderr


def test_any_failure_of_ours_names_us_and_the_way_out():
    def fail(module):
        raise KeyError("lost")

    with pytest.raises(ImportError, match=r"entroshape could not register.*lost.*VERL_USE_EXTERNAL_PLUGINS=none"):
        loudly(fail)(sys)


def test_names_that_verl_has_itself_are_not_overwritten():
    with pytest.raises(RuntimeError, match="already has an estimator"):
        register_estimators()  # once more: by now they are verl's
    with pytest.raises(RuntimeError, match="already has a policy loss"):
        register_losses()


def test_the_version_is_that_of_the_code_that_runs_and_without_its_word_that_of_the_metadata(monkeypatch):
    monkeypatch.setattr(verl, "__version__", "0.12.0.dev")
    with pytest.raises(ImportError, match=re.escape("found verl 0.12.0.dev")):
        check_version()
    monkeypatch.delattr(verl, "__version__")
    assert installed_version() == version("verl")


@pytest.mark.parametrize("mode", ["sync", "colocate_async"])
def test_our_estimators_in_another_trainer_mode_are_refused_when_the_trainer_is_made(mode):
    overrides = ["algorithm.adv_estimator=gtpo", f"trainer.v1.trainer_mode={mode}"]
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=overrides)
    with pytest.raises(ValueError, match=f"adv_estimator=gtpo .*trainer_mode=entroshape_sync; got '{mode}'"):
        get_trainer_cls(mode)(config)


def test_estimators_of_verls_own_reach_its_constructor_as_they_did():
    class Base:
        def __init__(self, config, more=0):
            self.made = config, more

    require_mode(Base)
    config = OmegaConf.create({"algorithm": {"adv_estimator": "grpo"}})
    assert Base(config, more=2).made == (config, 2)


@pytest.mark.parametrize(("number", "fits"), [("0.9.1", True), ("0.9.0", False), ("0.10.0", False)])
def test_versions_out_of_range_are_refused_with_the_range(number, fits):
    if fits:
        check_version(number)
    else:
        with pytest.raises(ImportError, match=re.escape(f"supports verl>=0.9.1,<0.10; found verl {number}")):
            check_version(number)


def test_the_installed_verl_has_every_seam_that_we_stand_on():
    check_seams()


def test_a_seam_that_moved_is_named():
    name = next(iter(SEAMS))
    with pytest.raises(ImportError, match=r"_compute_advantage.*without credit"):
        check_seams({name: ("batch", "credit")})
    with pytest.raises(ImportError, match=r"register_nothing.*verl .* does not have it"):
        check_seams({"verl.trainer.ppo.core_algos:register_nothing": ()})
