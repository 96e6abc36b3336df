"""The private seams of TRL that the engine stands on, named in one place and checked when it is imported.

A TRL that moved one of them is refused with a sentence, instead of training plain GRPO in silence.
"""

from __future__ import annotations

import inspect

from trl import GRPOTrainer, __version__

SUPPORTED = "trl>=1.16,<1.17"

SEAMS: dict[str, tuple[str, ...]] = {
    "_generate_and_score_completions": ("inputs",),
    "_generate": ("prompts",),
    "_calculate_rewards": ("inputs", "prompts", "completions", "completion_ids_list"),
    "_get_per_token_logps_and_entropies": (
        "model",
        "input_ids",
        "attention_mask",
        "logits_to_keep",
        "batch_size",
        "compute_entropy",
        "compute_aux_loss",
    ),
    "_compute_loss": ("model", "inputs"),
    "_prepare_inputs": ("generation_batch",),
    "training_step": ("model", "inputs", "num_items_in_batch"),
    "log": ("logs", "start_time"),
}
"""Methods of ``GRPOTrainer`` that are overridden or called, and the parameters that are relied on."""


def check_seams(trainer: type = GRPOTrainer) -> None:
    """Raise ``ImportError`` if ``trainer`` lacks a seam, or one has lost a parameter that is relied on."""
    for name, parameters in SEAMS.items():
        method = getattr(trainer, name, None)
        found = [] if method is None else list(inspect.signature(method).parameters)
        missing = [parameter for parameter in parameters if parameter not in found]
        if method is None or missing:
            what = f"{trainer.__name__}.{name}" + (f" without {', '.join(missing)}" if method else " is missing")
            raise ImportError(
                f"entroshape's TRL engine stands on GRPOTrainer.{name}({', '.join(parameters)}), but TRL "
                f"{__version__} has {what}. Supported: {SUPPORTED}. Install that, or look for a newer entroshape."
            )
