"""Marks complete checkpoints: the mark lists the sizes of all files and is written last.

Trainers write and delete checkpoints file by file, so a kill can leave a folder that looks like a checkpoint but is
incomplete.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from entroshape.printable import shown
from entroshape.runs.files import fsync_directory, fsync_file, is_aside, write_aside, writing
from entroshape.runs.reading import read_json

MARK = "complete.json"


def list_checkpoints(folder: Path) -> list[Path]:
    """The directories ``checkpoint-<optimizer updates>`` in ``folder``, complete or not, ordered by updates."""
    found = {}
    for path in folder.glob("checkpoint-*"):
        name = re.fullmatch(r"checkpoint-(\d+)", path.name)
        if name and path.is_dir():
            found[int(name[1])] = path
    return [found[step] for step in sorted(found)]


def updates_in(checkpoint: Path) -> int:
    """The number of optimizer updates at a checkpoint, from the name that transformers gives it.

    Example:
        >>> updates_in(Path("checkpoints/checkpoint-24"))
        24
    """
    return int(checkpoint.name.rpartition("-")[2])


def mark_whole(checkpoint: Path) -> None:
    """Flushes the files of a checkpoint to disk, then marks it as complete.

    Raises:
        ValueError: the checkpoint does not exist or is empty.
    """
    sizes = _sizes(checkpoint)
    if not sizes:
        raise ValueError(f"checkpoint must be a directory with files; got {checkpoint}")
    with writing(checkpoint):
        for name in sizes:
            fsync_file(checkpoint / name)
        for directory in {(checkpoint / name).parent for name in sizes}:
            fsync_directory(directory)
    write_aside(checkpoint / MARK, lambda file: file.write(json.dumps(sizes, indent=1).encode()))


def is_whole(checkpoint: Path) -> bool:
    """Whether the checkpoint is marked and still has every file with the size in the mark.

    Raises:
        ValueError: the mark is damaged, which a kill cannot cause; the message names the file.
    """
    mark = checkpoint / MARK
    if not mark.exists():
        return False
    expected, sizes = read_json(mark), _sizes(checkpoint)
    if not isinstance(expected, dict) or not expected or not all(isinstance(size, int) for size in expected.values()):
        raise ValueError(
            f"{mark} must hold the sizes of the checkpoint's files; got {shown(expected)}. "
            f"Delete {checkpoint.name} to resume from the checkpoint before it"
        )
    return all(sizes.get(name) == size for name, size in expected.items())


def _sizes(checkpoint: Path) -> dict[str, int]:
    """Sizes of all files except the mark, by their paths in the checkpoint."""
    paths = sorted(path for path in checkpoint.rglob("*") if path.is_file() and not is_aside(path))
    return {path.relative_to(checkpoint).as_posix(): path.stat().st_size for path in paths if path.name != MARK}
