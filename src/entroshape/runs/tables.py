"""The tables of a run, rollouts and evaluations, as Parquet files with fixed columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from entroshape.runs.files import write_aside

ROLLOUT_SCHEMA = pa.schema(
    {
        "step": pa.int64(),
        "group": pa.int64(),
        "prompt": pa.string(),
        "completion": pa.string(),
        "tokens": pa.list_(pa.string()),
        "token_ids": pa.list_(pa.int64()),
        "entropy": pa.list_(pa.float32()),
        "shaped_reward": pa.list_(pa.float32()),
        "advantage": pa.list_(pa.float32()),
        "reward": pa.float64(),
        "success": pa.bool_(),
        "gated": pa.bool_(),
    }
)
"""One row per completion. Lists hold one value per token, or are empty if the method has no such value."""

OPTIONAL = pa.schema(
    {
        "weight": pa.list_(pa.float32()),
        "kind": pa.list_(pa.string()),
        "decision": pa.list_(pa.bool_()),
        "first_error": pa.list_(pa.bool_()),
    }
)
"""Further columns of rollouts: weights, if the method has them, and what the task says about the kinds of tokens."""

ALL_ROLLOUT_COLUMNS = pa.schema([*ROLLOUT_SCHEMA, *OPTIONAL])

EVALUATION_SCHEMA = pa.schema(
    {
        "problem": pa.string(),
        "sample": pa.int64(),
        "prompt": pa.string(),
        "completion": pa.string(),
        "reward": pa.float64(),
        "success": pa.bool_(),
        "length": pa.int64(),
        "cut": pa.bool_(),
        "entropy": pa.float64(),
    }
)
"""One row per completion. The metrics are in the metadata of the same file, so that the two cannot get separated."""


def rollout_schema(rows: Sequence[Mapping[str, Any]]) -> pa.Schema:
    """The columns of these rollouts: those of :data:`ROLLOUT_SCHEMA`, and those of :data:`OPTIONAL` that they have."""
    return pa.schema([*ROLLOUT_SCHEMA, *(field for field in OPTIONAL if any(field.name in row for row in rows))])


def write_table(
    path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema, metadata: Mapping[str, bytes] | None = None
) -> None:
    """Writes rows as a Parquet file, atomically.

    Raises:
        ValueError: a row does not have exactly the columns of ``schema``, a value has the wrong type, is ``None`` or
            not finite, or the lists of a row differ in length.
    """
    lists = [name for name, kind in zip(schema.names, schema.types, strict=True) if pa.types.is_list(kind)]
    for number, row in enumerate(rows):
        if row.keys() != set(schema.names):
            wrong = sorted(row.keys() ^ set(schema.names))
            raise ValueError(f"rows[{number}] must have the columns {schema.names}; it differs in {wrong}")
        lengths = {name: len(row[name]) for name in lists if row[name]}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"rows[{number}] must hold one value per token in every list; got {lengths}")
    try:
        table = pa.Table.from_pylist(list(rows), schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"rows for {path.name} do not fit the columns {schema.names}: {error}") from error
    for column in table.column_names:
        _check_values(f"column {column!r}", table[column])
    if metadata:
        table = table.replace_schema_metadata(dict(metadata))
    write_aside(path, lambda file: pq.write_table(table, file, compression="zstd"))


def read_table(path: Path, schema: pa.Schema, *, optional: Sequence[str] = ()) -> pa.Table:
    """Reads a file that :func:`write_table` wrote.

    Args:
        path: the file.
        schema: its columns.
        optional: names of columns that may be missing.

    Raises:
        ValueError: the file is damaged, or has other columns or invalid values; the message names it.
    """
    with _readable(path):
        with pq.ParquetFile(path) as file:
            table = file.read()
        table.validate(full=True)
    wanted = [field for field in schema if field.name not in optional or field.name in table.column_names]
    if sorted(table.column_names) != sorted(field.name for field in wanted):
        raise ValueError(f"{path} must have the columns {schema.names}; got {table.column_names}")
    for field in wanted:
        if table.schema.field(field.name).type != field.type:
            got = table.schema.field(field.name).type
            raise ValueError(f"{path}: column {field.name!r} must hold {field.type}; got {got}")
        _check_values(f"{path}: column {field.name!r}", table[field.name])
    _check_lengths(table, path)
    return table


def read_metadata(path: Path) -> dict[str, bytes]:
    """Reads the metadata of a file, with names as text.

    Raises:
        ValueError: the file is damaged.
    """
    with _readable(path):
        return {name.decode(errors="replace"): value for name, value in (pq.read_metadata(path).metadata or {}).items()}


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raises one ``ValueError`` for the many kinds of errors that Arrow raises for a damaged file."""
    if not path.is_file():
        raise ValueError(f"{path} is not a readable Parquet file: it is not a file")
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise ValueError(f"{path} is not a readable Parquet file: {error}") from error


def _check_lengths(table: pa.Table, path: Path) -> None:
    """Checks that every list of a row has one value per token, or is empty."""
    lists = [field.name for field in table.schema if pa.types.is_list(field.type)]
    columns = [pc.list_value_length(table[name]).to_pylist() for name in lists]
    for number, lengths in enumerate(zip(*columns, strict=True)):
        if len(set(lengths) - {0}) > 1:
            raise ValueError(f"{path}, row {number}: expected one value per token in every list; got {lengths}")


def _check_values(column: str, values: pa.ChunkedArray) -> None:
    if values.null_count:
        raise ValueError(f"{column} must not contain None; got {values.null_count}")
    if pa.types.is_list(values.type):
        _check_values(column, pc.list_flatten(values))
    elif pa.types.is_floating(values.type) and not pc.all(pc.is_finite(values), min_count=0).as_py():
        raise ValueError(f"{column} must contain only finite numbers")
