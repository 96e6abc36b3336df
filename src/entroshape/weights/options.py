"""The options of ``entroshape merge``, separate from its code, so that ``--help`` does not wait for torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from entroshape.arguments import parse_arguments
from entroshape.checks import check_number

StartArgument = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="START")]
TrainedArgument = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TRAINED")]


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """Write mixtures (1 - a) * START + a * TRAINED of the weights of two models as models.

    Only safetensors are read. Files are read and written tensor by tensor, so memory holds one file of the result. If
    TRAINED is a LoRA adapter of START, the mixture is an adapter too, whose contribution is a times as large.

    entroshape merge countdown-tiny runs/countdown-gtpo-0-1/model --weight 0.5,0.7
    """

    start: StartArgument
    """The model before training: hub id, local directory, or the name of a bundled model."""

    trained: TrainedArgument
    """The same model after training, such as the model/ or model-ema/ of a run: hub id or local directory. The mixture
    takes over its data types, configuration and tokenizer."""

    weight: str
    """The share a of TRAINED, between 0 and 1; several are separated by commas. An a beyond 1 would be an extrapolation
    and is refused."""

    output: str | None = None
    """Directory of the mixture; with several weights, each is a directory mix-A in it. None: TRAINED-mix-A beside a
    local TRAINED."""

    max_shard_size: str = "2GB"
    """Maximum size of a file of weights, such as 500MB. Memory holds the tensors of one file."""

    def __post_init__(self) -> None:
        shares = self.weights
        for share in shares:
            if shares.count(share) > 1:
                raise ValueError(f"weight must be different numbers; got {share:g} more than once")
        if not re.fullmatch(r"[1-9]\d{0,5}(KB|MB|GB|TB)", self.max_shard_size):
            raise ValueError(f"max_shard_size must be a size such as 500MB or 2GB; got {self.max_shard_size!r}")

    @property
    def weights(self) -> list[float]:
        """The shares of TRAINED.

        Raises:
            ValueError: one is not a number between 0 and 1.
        """
        return [checked_share("weight", text) for text in self.weight.split(",")]

    def outputs(self, trained: Path) -> dict[float, Path]:
        """The directory of each mixture, where ``trained`` is the directory of TRAINED.

        Raises:
            ValueError: there is no ``output``, and TRAINED is not a local directory, beside which mixtures are written.
        """
        if self.output is not None:
            folder = Path(self.output)
            single = len(self.weights) == 1
            return {share: folder if single else folder / f"mix-{share:g}" for share in self.weights}
        if not Path(self.trained).expanduser().is_dir():
            raise ValueError(f"output must be given when TRAINED is not a local directory; got {self.trained!r}")
        return {share: trained.with_name(f"{trained.name}-mix-{share:g}") for share in self.weights}


def checked_share(name: str, text: str) -> float:
    """The number that ``text`` is.

    Raises:
        ValueError: it is not a number between 0 and 1, both excluded: those would be one of the two models.
    """
    try:
        share = float(text)
    except ValueError as error:
        raise ValueError(f"{name} must be a number between 0 and 1; got {text!r}") from error
    check_number(name, share, minimum=0.0, maximum=1.0, exclusive=True)
    return share


def checked_mixture(name: str, text: str) -> tuple[str, float]:
    """The model and its share in ``MODEL:SHARE``.

    Raises:
        ValueError: ``text`` has another form, or the share is not between 0 and 1.

    Example:
        >>> checked_mixture("mix", "runs/countdown-gtpo-0-1/model:0.5")
        ('runs/countdown-gtpo-0-1/model', 0.5)
    """
    model, colon, share = text.rpartition(":")
    if not (model and colon):
        raise ValueError(f"{name} must be TRAINED:a, a model and its share, such as ./model:0.5; got {text!r}")
    return model, checked_share(f"{name}: the share", share)


def parse_merge(arguments: Sequence[str]) -> MergeConfig:
    """The options of ``entroshape merge`` from a command line."""
    config: MergeConfig = parse_arguments(MergeConfig, "merge", arguments)
    return config
