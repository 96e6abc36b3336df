"""The weights of a saved model, read tensor by tensor from safetensors. Other formats are never opened."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from entroshape.printable import one_line, shown
from entroshape.runs.reading import read_json

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILE = "adapter_model.safetensors"
MODEL_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


class SavedWeights:
    """The weights in a directory that ``save_pretrained`` wrote: of a model, in one file or several, or of an adapter.

    Only names, shapes and sizes are read at first. Tensors are read one at a time, so a model may be larger than the
    memory.

    Args:
        folder: the directory.

    Raises:
        ValueError: there are no weights in safetensors, or a file is damaged or inconsistent; the message names it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_adapter = (folder / ADAPTER_CONFIG).is_file()
        self._files = _files_of_weights(folder, self.is_adapter)
        self.shapes: dict[str, list[int]] = {}
        """The shape of every tensor, by name."""
        self.sizes: dict[str, int] = {}
        """The bytes of every tensor, by name."""
        for file in sorted(set(self._files.values())):
            with _reading(file), safe_open(file, framework="pt") as content:
                for name in content.keys():  # noqa: SIM118 - not a mapping
                    if self._files.get(name, file) == file:
                        self._add(name, content.get_slice(name), file)
        if missing := self._files.keys() - self.shapes.keys():
            raise ValueError(f"{self._files[min(missing)]} lacks {min(missing)!r}, which {folder / INDEX_FILE} names")

    def _add(self, name: str, tensor: Any, file: Path) -> None:
        self._files[name] = file
        self.shapes[name] = tensor.get_shape()
        bits = re.search(r"\d+", tensor.get_dtype())  # F32, BF16, F8_E4M3, I64, BOOL
        self.sizes[name] = math.prod(tensor.get_shape()) * (int(bits[0]) if bits else 8) // 8

    def read(self, name: str) -> Tensor:
        """Reads one tensor.

        Raises:
            ValueError: its file is damaged.
        """
        # Opened again for each tensor: the pages of an open file would stay in memory.
        with _reading(self._files[name]), safe_open(self._files[name], framework="pt") as content:
            tensor: Tensor = content.get_tensor(name)
            return tensor


def _files_of_weights(folder: Path, is_adapter: bool) -> dict[str, Path]:
    """The file of each tensor, by name; if there is only one file, it is under the name of one of its tensors."""
    if not is_adapter and (folder / INDEX_FILE).is_file():
        return _files_of_index(folder / INDEX_FILE)
    file = folder / (ADAPTER_FILE if is_adapter else MODEL_FILE)
    if not file.is_file():
        raise ValueError(f"{folder} has no {file.name}: only weights in safetensors are read")
    with _reading(file), safe_open(file, framework="pt") as content:
        names = list(content.keys())
    if not names:
        raise ValueError(f"{file} holds no weights")
    return dict.fromkeys(names, file)


def _files_of_index(index: Path) -> dict[str, Path]:
    content = read_json(index)
    names = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{index} must hold a weight_map from tensors to files; got {shown(content)}")
    for name, file in names.items():
        # A name of a file and not a path: an index must not lead out of its directory.
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
            raise ValueError(f"{index}: {shown(name)} must be in a .safetensors file beside it; got {shown(file)}")
        if not (index.parent / file).is_file():
            raise ValueError(f"{index} names {shown(file)}, which does not exist")
    return {name: index.parent / file for name, file in names.items()}


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Names ``file`` in errors that are raised while it is read."""
    try:
        yield
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ValueError(f"{file} cannot be read: {one_line(str(error))}") from error
