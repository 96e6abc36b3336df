"""The state of a method in verl's checkpoints: written, read back, refused where it is not the method's."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from entroshape import GRPO, Rollouts, Stateful
from entroshape.engines.assignment import assign_next
from entroshape.engines.verl import memory


@dataclass(frozen=True, kw_only=True)
class Counting(GRPO, Stateful):
    initial_state = {"steps": 0.0}  # noqa: RUF012 - never changed
    assign = Stateful.assign

    def assign_from(self, rollouts, state, generator=None):
        return GRPO.assign(self, rollouts, generator), {"steps": state["steps"] + 1}


def trainer(folder, resume_from=None):
    return SimpleNamespace(
        default_local_dir=str(folder),
        resume_mode="resume_path" if resume_from else "auto",
        resume_from_path=resume_from and str(resume_from),
    )


def test_a_state_is_read_back_as_it_was_written_from_both_kinds_of_resume(tmp_path):
    state = {"steps": 1 / 3}
    memory.save(Counting(), state, trainer(tmp_path), 7)
    assert memory.load(Counting(), trainer(tmp_path), 7) == state
    assert memory.load(Counting(), trainer("elsewhere", tmp_path / "global_step_7"), 7) == state


def test_a_method_without_a_state_leaves_no_file(tmp_path):
    memory.save(GRPO(), {}, trainer(tmp_path), 7)
    assert not list(tmp_path.iterdir())
    assert memory.load(GRPO(), trainer(tmp_path), 7) == memory.initial(GRPO()) == {}
    rollouts = Rollouts(rewards=torch.zeros(2), mask=torch.ones(2, 1), group=torch.zeros(2, dtype=torch.long))
    assert assign_next(GRPO(), rollouts, {}, torch.Generator())[1] == {}


def test_a_checkpoint_without_the_state_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"global_step_7 has no method_state.json: .*resumed with Counting"):
        memory.load(Counting(), trainer(tmp_path), 7)


@pytest.mark.parametrize("text", ["", "[]", '{"steps": 1', '{"other": 1.0}', '{"steps": "many"}', '{"steps": NaN}'])
def test_a_damaged_state_is_refused_by_the_name_of_its_file(tmp_path, text):
    file = tmp_path / "global_step_7" / memory.FILE
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(ValueError, match=r"method_state\.json"):
        memory.load(Counting(), trainer(tmp_path), 7)


@pytest.mark.parametrize("state", [{"steps": float("nan")}, {}, {"steps": True}, None])
def test_a_state_that_the_method_may_not_return_stops_the_step(state, monkeypatch):
    monkeypatch.setattr(Counting, "assign_from", lambda *step: (None, state))
    with pytest.raises(ValueError, match="the state that Counting returned"):
        assign_next(Counting(), None, {"steps": 0.0}, None)
