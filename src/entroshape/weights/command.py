"""``entroshape merge``: mixtures of two models, written as models."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from entroshape.checks import begun
from entroshape.terminal import text_column
from entroshape.weights.adapters import check_adapter
from entroshape.weights.loading import model_directory
from entroshape.weights.merging import mixture_of, write_mixture
from entroshape.weights.options import MergeConfig
from entroshape.weights.saved import SavedWeights


def run_merge(config: MergeConfig, console: Console) -> list[Path]:
    """Writes a mixture per weight and returns their directories.

    Raises:
        ValueError: an output exists, the models do not fit together, or files are damaged. Nothing is written then.
        OSError: writing failed. Mixtures that are complete stay.
    """
    start, trained = (SavedWeights(model_directory(name)) for name in (config.start, config.trained))
    outputs = config.outputs(trained.folder)
    for output in outputs.values():
        if output.exists() or output.is_symlink():
            raise ValueError(f"output {output} already exists; choose another --output, or remove it")
    if trained.is_adapter:
        check_adapter(trained.folder, config.start, trained.shapes)
    mixtures = {share: mixture_of(start, trained, share) for share in outputs}
    for share, output in outputs.items():
        bar = Progress(
            text_column("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        with begun(), bar:
            tensors = bar.add_task(f"mixture {share:g}", total=len(trained.sizes))
            write_mixture(
                trained,
                mixtures[share],
                output,
                config.max_shard_size,
                lambda done, total, bar=bar, tensors=tensors: bar.update(tensors, completed=done),  # type: ignore[misc]
            )
        console.print(f"{share:g} of TRAINED: {output}", soft_wrap=True)
    return list(outputs.values())
