"""What may have happened to a file: each damage takes its bytes and gives others, or a directory in its place."""

import gzip
import json


def flipped(data):
    """The same length, with 64 bytes in the middle turned over."""
    middle = len(data) // 2
    return data[:middle] + bytes(byte ^ 0xFF for byte in data[middle : middle + 64]) + data[middle + 64 :]


def is_a_directory(path):
    path.unlink()
    path.mkdir()


DAMAGES = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "half": lambda data: data[: len(data) // 2],
    "without its end": lambda data: data[:-9],
    "flipped": flipped,
    "zeros": lambda data: bytes(len(data)),
    "random bytes": lambda data: bytes((i * 197 + i // 256 * 31) % 256 for i in range(max(len(data), 999))),
    "text": lambda data: b"Dear diary,\ntoday I trained a model.\n",
    "web page": lambda data: b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n",
    "picture": lambda data: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(99),
    "compressed": gzip.compress,
    "UTF-16": lambda data: data.decode("latin-1").encode("utf-16"),
    "Latin-1": lambda data: b"caf\xe9: \xff\n",
    "list": lambda data: b"[1, 2, 3]\n",
    "number": lambda data: b"7\n",
    "null": lambda data: b"null\n",
    "NaN": lambda data: b'{"step": NaN, "a": Infinity, "b": 1e999}\n',
    "deep": lambda data: b"[" * 100_000 + b"\n",
    "deep object": lambda data: b'{"a":' * 100_000 + b"\n",
    "large number": lambda data: b'{"step": %s}\n' % (b"9" * 5000),
    "other object": lambda data: b'{"name": "x", "version": [1, 2]}\n',
    "lock pointer": lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "a directory": is_a_directory,
}


def damaged(path, name):
    """Does it to a file."""
    damage = DAMAGES[name]
    if damage is is_a_directory:
        is_a_directory(path)
    else:
        replaced(path, damage(path.read_bytes()))


def replaced(path, data):
    """Another file in the place of one that may be shared with other folders."""
    path.unlink()
    path.write_bytes(data)


def remarked(checkpoint):
    """A checkpoint's mark, made to fit what is there: only reading the files can tell that they are damaged."""
    mark = checkpoint / "complete.json"
    sizes = {file.name: file.stat().st_size for file in sorted(checkpoint.iterdir()) if file.is_file()}
    sizes.pop("complete.json", None)
    replaced(mark, json.dumps(sizes).encode())
