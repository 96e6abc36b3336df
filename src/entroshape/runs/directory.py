"""RunDirectory: the files of a training run, written so that a kill at any moment corrupts nothing.

Files that grow are appended to and flushed to disk line by line; all others are written to a temporary file and
renamed. What a kill leaves incomplete (a last line, a temporary file, a checkpoint without its mark) is never read as
if it were complete.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from entroshape.metrics.points import EvaluationPoint
from entroshape.runs.checkpoints import is_whole, list_checkpoints, mark_whole
from entroshape.runs.config_file import read_options, write_options
from entroshape.runs.files import held, is_aside, json_line, made_directory, write_aside
from entroshape.runs.metrics import append_row, check_step, read_rows, truncate_rows
from entroshape.runs.points import check_points, forget_points_after, points_folder, read_points, write_point
from entroshape.runs.reading import check_numbers, parse_json
from entroshape.runs.tables import ALL_ROLLOUT_COLUMNS as COLUMNS
from entroshape.runs.tables import EVALUATION_SCHEMA, OPTIONAL, read_metadata, read_table, rollout_schema, write_table


class RunDirectory:
    """A run on disk: options, metrics, rollouts, evaluations, checkpoints, the model and the report.

    The constructor does not access the disk; see :meth:`create` and :meth:`open`. Only one process writes at a time
    (:meth:`hold`).

    Args:
        path: the directory.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_path = self.path / "config.yaml"
        self.metrics_path = self.path / "metrics.jsonl"
        self.checkpoints_path = self.path / "checkpoints"
        self.model_path = self.path / "model"
        self.ema_model_path = self.path / "model-ema"
        self.report_path = self.path / "report.html"
        self.lock_path = self.path / ".lock"

    def __repr__(self) -> str:
        return f"RunDirectory({str(self.path)!r})"

    # --- create, open -------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: str | Path) -> RunDirectory:
        """Creates a new run in ``path``, which may be an existing empty directory.

        Raises:
            ValueError: ``path`` is a file or not empty; the message says what to do.
        """
        run = cls(path)
        if run.path.exists() and not run.path.is_dir():
            raise ValueError(f"output must be a directory; {run.path} is a file. Choose another --output")
        if run.config_path.is_file():
            raise ValueError(
                f"output {run.path} already contains a run: continue it with --resume {run.path}, "
                "or choose another --output"
            )
        run.path.mkdir(parents=True, exist_ok=True)
        there = sorted(entry.name for entry in run.path.iterdir() if not is_aside(entry) and entry != run.lock_path)
        if there:
            raise ValueError(
                f"output {run.path} must be new or empty; it is not a run and contains {there[0]!r}"
                f"{f' and {len(there) - 1} more' if there[1:] else ''}. Choose another --output"
            )
        return run

    @classmethod
    def create_named(cls, task: str, method: str, seed: int, *, root: str | Path = "runs") -> RunDirectory:
        """Creates a new run ``<root>/<task>-<method>-<seed>-<n>`` with the smallest free ``n``, counted from 1.

        Runs that start at the same moment get different directories.

        Example:
            >>> import tempfile
            >>> RunDirectory.create_named("jsonl:data/gsm8k.jsonl", "gtpo", 0, root=tempfile.mkdtemp()).path.name
            'jsonl-data-gsm8k.jsonl-gtpo-0-1'
        """
        name = re.sub(r"[^\w.]+", "-", f"{task}-{method}-{seed}", flags=re.ASCII).strip("-.")
        Path(root).mkdir(parents=True, exist_ok=True)
        n = 1
        while (path := Path(root) / f"{name}-{n}").exists() or not made_directory(path):
            n += 1
        return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """Opens the run in ``path``.

        Raises:
            ValueError: ``path`` does not exist or is not a run.
        """
        run = cls(path)
        if not run.config_path.is_file():
            what = "has no config.yaml" if run.path.is_dir() else "does not exist"
            raise ValueError(f"{run.path} must be the directory of a run; it {what}")
        return run

    def hold(self) -> AbstractContextManager[None]:
        """Holds the lock of this run until the block or this process ends.

        Raises:
            ValueError: another process holds it.
        """
        return held(self.lock_path, f"another process is training the run in {self.path}; let it finish, or stop it")

    # --- options ------------------------------------------------------------------------------------------------------

    def write_config(self, config: Mapping[str, Any], recorded: Mapping[str, Any] | None = None) -> None:
        """Writes ``config.yaml``: the options, and as ``environment`` the ``recorded`` one or that of this process.

        Raises:
            ValueError: an option is not a plain value, or is named ``environment``.
        """
        write_options(self.config_path, config, recorded)

    def read_config(self) -> dict[str, Any]:
        """Reads the options and ``environment``: the versions of Python and packages, and the git revision.

        Raises:
            ValueError: the file does not exist, is not YAML, or is not a mapping of option names.
        """
        self.open(self.path)
        return read_options(self.config_path)

    # --- metrics ------------------------------------------------------------------------------------------------------

    def append_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Appends one line and flushes it to disk. An incomplete last line from a kill is dropped first.

        Raises:
            ValueError: ``step`` is missing or not an integer, or a value is not a finite number. Leave out unknown
                values.
        """
        append_row(self.metrics_path, metrics)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Reads all complete lines; there are none before the first step.

        Raises:
            ValueError: a complete line is not an object with a ``step`` and finite numbers; the message names path and
                line number.
        """
        return read_rows(self.metrics_path)

    def check_tables(self, step: int) -> None:
        """Reads the evaluations, points and rollouts up to ``step``: what a resumed run keeps has to be whole.

        Raises:
            ValueError: the first that is not; the message names the file.
        """
        for kept in filter(step.__ge__, self.evaluation_steps()):
            self.read_evaluation(kept)
        for kept in filter(step.__ge__, self.rollout_steps()):
            self.read_rollouts(kept)
        check_points(self.path, step)

    def forget_after(self, step: int) -> None:
        """Deletes metrics, rollouts, evaluations and points after ``step``, which a resumed run repeats."""
        self.truncate_metrics(step)
        forget_points_after(self.path, step)
        for kind in ("rollouts", "eval"):
            for later in filter(step.__lt__, self._steps(kind)):
                self._table_path(kind, later).unlink()

    def truncate_metrics(self, after_step: int) -> None:
        """Deletes the metrics of all steps after ``after_step``, which a resumed run writes again.

        Raises:
            ValueError: see :meth:`read_metrics`.
        """
        truncate_rows(self.metrics_path, after_step)

    # --- rollouts and evaluations -------------------------------------------------------------------------------------

    def write_rollouts(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes the completions of a step with their credit, one row per completion as in :data:`ROLLOUT_SCHEMA`.

        All rows may also have columns of :data:`OPTIONAL`, such as ``kind``.

        Raises:
            ValueError: a column is missing or unknown, a value has the wrong type or is not finite, or the lists of a
                completion differ in length.
        """
        write_table(self._table_path("rollouts", step), rows, rollout_schema(rows))

    def read_rollouts(self, step: int) -> list[dict[str, Any]]:
        """Reads the rows of a step that :meth:`rollout_steps` lists.

        Raises:
            ValueError: the step has no rollouts, or the file is damaged.
        """
        self._require("rollouts", step)
        return read_table(self._table_path("rollouts", step), COLUMNS, optional=OPTIONAL.names).to_pylist()

    def rollout_steps(self) -> list[int]:
        """The steps with kept rollouts, in order."""
        return self._steps("rollouts")

    def write_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, float]) -> None:
        """Writes every completion of an evaluation, as in :data:`EVALUATION_SCHEMA`, with the metrics.

        Raises:
            ValueError: as for :meth:`write_rollouts`, or a metric is not finite.
        """
        table_metrics = json_line(metrics, "metrics")
        write_table(self._table_path("eval", step), rows, EVALUATION_SCHEMA, {"metrics": table_metrics})

    def read_evaluation(self, step: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Reads the rows and the metrics of a step that :meth:`evaluation_steps` lists.

        Raises:
            ValueError: the step has no evaluation, or the file is damaged.
        """
        self._require("eval", step)
        path = self._table_path("eval", step)
        metadata = read_metadata(path)
        if "metrics" not in metadata:
            raise ValueError(f"{path} is not an evaluation: its metadata has no metrics")
        metrics = check_numbers(parse_json(metadata["metrics"], f"{path}, metrics"), f"{path}, metrics")
        return read_table(path, EVALUATION_SCHEMA).to_pylist(), metrics

    def evaluation_steps(self) -> list[int]:
        """The steps that were evaluated, in order; 0 is before training."""
        return self._steps("eval")

    def write_point(self, point: EvaluationPoint, fresh: int = 0) -> None:
        """Writes the successes of an evaluation under one setting of weights, step and temperature."""
        write_point(points_folder(self.path, fresh), point)

    def read_points(self, fresh: int = 0) -> list[EvaluationPoint]:
        """Reads all points on the held-out problems, or on so many fresh ones, by step, weights and temperature.

        Raises:
            ValueError: a file is damaged; the message names it.
        """
        return read_points(points_folder(self.path, fresh))

    def is_finished(self, steps: int, *, ema: bool = False) -> bool:
        """Whether a run of ``steps`` steps has the last evaluation, the model (``ema``: both models) and the report."""
        models = (self.model_path, self.ema_model_path) if ema else (self.model_path,)
        return steps in self.evaluation_steps() and all(map(Path.is_dir, models)) and self.report_path.is_file()

    def write_report(self, html: str) -> Path:
        """Writes ``report.html`` and returns its path; :func:`entroshape.report.write_report` makes the content."""
        write_aside(self.report_path, lambda file: file.write(html.encode()))
        return self.report_path

    def _table_path(self, kind: str, step: int) -> Path:
        return self.path / kind / f"step-{check_step(step)}.parquet"

    def _steps(self, kind: str) -> list[int]:
        names = (re.fullmatch(r"step-(\d+)\.parquet", path.name) for path in (self.path / kind).glob("*"))
        return sorted(int(name[1]) for name in names if name)

    def _require(self, kind: str, step: int) -> None:
        steps = self._steps(kind)
        if step not in steps:
            available = ", ".join(map(str, steps)) or "none"
            raise ValueError(f"{self.path} has no {kind} of step {step}; available steps: {available}")

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def mark_checkpoint_complete(self, checkpoint: str | Path) -> None:
        """Marks a checkpoint as complete. Call it when all processes have written their parts.

        Raises:
            ValueError: the checkpoint does not exist or is empty.
        """
        mark_whole(Path(checkpoint))

    def latest_checkpoint(self) -> Path | None:
        """The newest complete checkpoint, ``checkpoints/checkpoint-<optimizer updates>``, or ``None``."""
        whole = [path for path in list_checkpoints(self.checkpoints_path) if is_whole(path)]
        return whole[-1] if whole else None

    def remove_checkpoints_before_last(self, kept: int) -> None:
        """Deletes all checkpoints but the last ``kept``, by the steps in their names."""
        for path in list_checkpoints(self.checkpoints_path)[:-kept]:
            shutil.rmtree(path)

    def remove_torn_checkpoints(self) -> list[Path]:
        """Deletes the checkpoints that a kill left half-written or half-deleted, and returns their paths."""
        torn = [path for path in list_checkpoints(self.checkpoints_path) if not is_whole(path)]
        for path in torn:
            shutil.rmtree(path)
        return torn
