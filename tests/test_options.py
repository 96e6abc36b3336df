"""An option says itself what it affects; one that is added is treated right everywhere, without a list of names."""

from dataclasses import dataclass, fields, replace

import pytest

from entroshape.evaluation import evaluation_metrics
from entroshape.evaluation.command import _options
from entroshape.evaluation.options import EvalConfig
from entroshape.experiments import arms as arms_module
from entroshape.experiments.arms import Arm, parse_arms
from entroshape.experiments.page import page_text
from entroshape.experiments.preflight import check_begun
from entroshape.experiments.results import Comparison, check_same, shared_options
from entroshape.experiments.starts import Job, evaluated_starts
from entroshape.options import affecting, compared, option
from entroshape.report.data import page_data
from entroshape.runs import RunDirectory
from entroshape.tasks import load_task
from entroshape.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class MoreTrain(TrainConfig):
    """Training with an option of each kind more."""

    which: str = option("run", default="a")
    prefix: str = option("start", default="a")
    momentum: float = option("result", default=0.5)
    workers: int = option("resources", default=1)
    colour: str = option("presentation", default="red")


@dataclass(frozen=True, kw_only=True)
class MoreEval(EvalConfig):
    """Evaluation with an option of each kind more."""

    top_p: float = option("result", default=1.0)
    workers: int = option("resources", default=1)
    colour: str = option("presentation", default="red")


@pytest.mark.parametrize("options", [TrainConfig, EvalConfig])
def test_every_option_says_what_it_affects(options):
    every = affecting(options, "run", "start", "result", "further", "resources", "presentation")
    assert every == [each.name for each in fields(options)]


def test_an_option_that_does_not_say_so_is_found():
    @dataclass(frozen=True, kw_only=True)
    class Silent(TrainConfig):
        forgotten: int = 0

    with pytest.raises(TypeError, match="forgotten does not declare what it affects"):
        compared(Silent())
    with pytest.raises(ValueError, match="effects must be among"):
        option("weights", default=1)
    with pytest.raises(ValueError, match="effects must be among"):
        option(default=1)


def comparison(**options):
    return Comparison(base=MoreTrain(**options), arms=parse_arms(["dapo,gtpo"]), baseline="dapo", records=[])


def test_a_comparison_is_one_of_runs_with_the_same_start_and_result(tmp_path):
    there = comparison()
    assert {"prefix", "momentum"} <= shared_options(there.base).keys()
    assert not {"which", "workers", "colour"} & shared_options(there.base).keys()
    for changed in ({"which": "b"}, {"workers": 2}, {"colour": "blue"}):
        check_same(there, MoreTrain(**changed), tmp_path)
    for changed in ({"prefix": "b"}, {"momentum": 0.75}):
        with pytest.raises(ValueError, match=f"{next(iter(changed))} = "):
            check_same(there, MoreTrain(**changed), tmp_path)
    assert page_text(there)["options"]["momentum"] == 0.5


def test_an_arm_may_differ_in_what_the_comparison_does_not_set_itself(monkeypatch):
    monkeypatch.setattr(arms_module, "TrainConfig", MoreTrain)
    names = "gtpo:prefix=b,gtpo:momentum=0.75,gtpo:workers=2"
    assert [arm.name for arm in parse_arms([names])] == names.split(",")
    for name in ("which", "colour"):
        with pytest.raises(ValueError, match="unknown option"):
            parse_arms([f"gtpo:{name}=b"])


def begun(path, config):
    run = RunDirectory.create(path)
    run.write_config(config.to_dict())
    rows = [
        {"problem": "p", "sample": 0, "prompt": ">", "completion": "1", "reward": 1.0, "success": True, "length": 3,
         "cut": False, "entropy": 0.5}
    ]  # fmt: skip
    run.write_evaluation(0, rows, evaluation_metrics(rows))
    return run


def test_a_run_is_continued_with_other_resources_and_not_with_another_result(tmp_path):
    run = begun(tmp_path / "run", MoreTrain())
    check_begun(run, MoreTrain(workers=2, colour="blue"))
    for changed in ({"prefix": "b"}, {"momentum": 0.75}, {"which": "b"}):
        with pytest.raises(ValueError, match=f"contains a run with {next(iter(changed))} = "):
            check_begun(run, MoreTrain(**changed))


def test_arms_share_the_evaluation_before_training_where_the_start_is_the_same(tmp_path):
    path = tmp_path / "dapo" / "seed-0"
    path.parent.mkdir()
    begun(path, MoreTrain(method="dapo"))

    def shares(**changed):
        config = MoreTrain(**changed)
        return bool(list(evaluated_starts(Job(arm=Arm(method="gtpo"), config=config, path=tmp_path / "gtpo/seed-0"))))

    assert shares()
    assert shares(momentum=0.75, workers=2, colour="blue", which="b")
    assert not shares(prefix="b")
    assert not shares(device="cpu")


def test_answers_depend_on_what_affects_the_result_of_an_evaluation():
    config = MoreEval(top_p=0.5, workers=2, colour="blue")
    kept = _options(config, load_task("countdown", test_size=1, train_size=1))
    assert kept["top_p"] == 0.5
    assert not {"workers", "colour", "json", "output", "device"} & kept.keys()
    assert config.path.name == "countdown-countdown-tiny-0-top_p-0.5.parquet"
    assert replace(config, top_p=1.0).path == EvalConfig().path


def test_the_report_of_a_run_shows_an_option_that_is_added(tmp_path):
    run = begun(tmp_path / "run", MoreTrain(momentum=0.75))
    assert page_data(run)["options"]["momentum"] == 0.75
