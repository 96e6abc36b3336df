"""Files of weights in safetensors, the only format that is read: written aside and renamed, with errors by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from entroshape.printable import one_line
from entroshape.runs.files import aside_of, fsync_directory, fsync_file, writing


def write_weights(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes a file of weights atomically.

    Raises:
        OSError: writing failed; the message has the path and the reason.
    """
    aside = aside_of(path)
    with writing(path):
        try:
            save_file(dict(weights), aside, metadata={"format": "pt", **(metadata or {})})
            fsync_file(aside)
            aside.replace(path)
        except SafetensorError as error:  # as which the library raises those of the system
            raise OSError(one_line(str(error))) from error
        finally:
            aside.unlink(missing_ok=True)
        fsync_directory(path.parent)
