"""Checkpoints and models on the disk: what cannot be written or read is one sentence that names it."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers.trainer_pt_utils import safe_globals

from entroshape.engines.trl import ShapedGRPOTrainer
from entroshape.printable import one_line, shown
from entroshape.runs.checkpoints import updates_in
from entroshape.runs.reading import read_json

HOLDS = {
    "optimizer.pt": {"state", "param_groups"},
    "scheduler.pt": {"last_epoch"},
    "rng_state.pth": {"python", "numpy", "cpu"},
}
"""Files of a checkpoint that torch wrote, and what is in each."""


class SavingTrainer(ShapedGRPOTrainer):
    """The trainer, naming the checkpoint that it could not write."""

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        with saving(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"):
            super()._save_checkpoint(*args, **kwargs)


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Names the directory ``path`` in what goes wrong while libraries write into it.

    Raises:
        OSError: each library has its own words for a full disk, so the space that is left stands beside them.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        place = next((each for each in (path, *path.parents) if each.exists()), Path("/"))
        raise OSError(
            f"{path} cannot be written: {one_line(str(error))} ({shutil.disk_usage(place).free / 1e6:.1f} MB are free "
            "there); what was whole before still is, and the run can be resumed"
        ) from error


def check_checkpoint(checkpoint: Path) -> None:
    """Refuses a checkpoint with a file that cannot be loaded, before anything is done with it.

    Every byte of what torch wrote is read once, against the checksums in it; no pickled code is run.

    Raises:
        ValueError: naming the file.
    """
    state = read_json(checkpoint / "trainer_state.json")
    if not isinstance(state, dict) or state.get("global_step") != updates_in(checkpoint):
        raise ValueError(f"{checkpoint / 'trainer_state.json'} is not the state of {checkpoint.name}; {_ADVICE}")
    for file in sorted(checkpoint.iterdir()):
        if file.suffix in (".pt", ".pth"):
            _check_torch_file(file)
        elif file.suffix == ".safetensors":
            try:
                with safe_open(file, framework="pt") as tensors:
                    tensors.keys()
            except (SafetensorError, OSError) as error:
                raise ValueError(f"{file} cannot be loaded: {one_line(str(error))}; {_ADVICE}") from error


_ADVICE = "delete the checkpoint to resume the run from the one before it"


def _check_torch_file(file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
        if broken is not None:
            raise ValueError(f"the checksum of {broken} is wrong")
        with safe_globals():
            # Tensors are read when they are used, and none is.
            content = torch.load(file, map_location="meta", weights_only=True, mmap=True)
    except Exception as error:
        # A damaged archive or pickle raises whatever its bytes lead to.
        raise ValueError(
            f"{file} cannot be loaded: {type(error).__name__}: {one_line(str(error))[:200]}; {_ADVICE}"
        ) from error
    missing = HOLDS.get(file.name, set()) - (content.keys() if isinstance(content, dict) else set())
    if missing:
        raise ValueError(f"{file} holds no {sorted(missing)[0]!r}; got {shown(content)}; {_ADVICE}")
