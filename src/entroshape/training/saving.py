"""Writes and checks checkpoints and models; errors are one sentence that names the file or directory."""

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

EXPECTED_KEYS = {
    "optimizer.pt": {"state", "param_groups"},
    "scheduler.pt": {"last_epoch"},
    "rng_state.pth": {"python", "numpy", "cpu"},
}
"""Files of a checkpoint that torch wrote, with the keys that each must have."""


class SavingTrainer(ShapedGRPOTrainer):
    """The trainer, with errors that name the checkpoint that could not be written."""

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        with saving(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"):
            super()._save_checkpoint(*args, **kwargs)


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Names the directory ``path`` in errors that are raised while libraries write into it.

    Raises:
        OSError: writing failed. Libraries word a full disk differently, so the message adds the free space.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        place = next((each for each in (path, *path.parents) if each.exists()), Path("/"))
        raise OSError(
            f"{path} cannot be written: {one_line(str(error))} ({shutil.disk_usage(place).free / 1e6:.1f} MB are free "
            "there); files that were complete are intact, and the run can be resumed"
        ) from error


def check_checkpoint(checkpoint: Path) -> None:
    """Refuses a checkpoint with a file that cannot be loaded, before the run is changed.

    Files that torch wrote are read completely and compared with their checksums. No pickled code is run.

    Raises:
        ValueError: a file cannot be loaded; the message names it.
    """
    state = read_json(checkpoint / "trainer_state.json")
    if not isinstance(state, dict) or state.get("global_step") != updates_in(checkpoint):
        raise ValueError(f"{checkpoint / 'trainer_state.json'} does not belong to {checkpoint.name}; {_ADVICE}")
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
            # Tensors are read on use, and none is used here.
            content = torch.load(file, map_location="meta", weights_only=True, mmap=True)
    except Exception as error:
        # A damaged archive or pickle can raise anything.
        raise ValueError(
            f"{file} cannot be loaded: {type(error).__name__}: {one_line(str(error))[:200]}; {_ADVICE}"
        ) from error
    missing = EXPECTED_KEYS.get(file.name, set()) - (content.keys() if isinstance(content, dict) else set())
    if missing:
        raise ValueError(f"{file} lacks {sorted(missing)[0]!r}; got {shown(content)}; {_ADVICE}")
