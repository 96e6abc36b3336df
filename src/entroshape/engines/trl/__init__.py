"""The methods in TRL: ``ShapedGRPOTrainer`` and ``ShapedGRPOConfig`` replace ``GRPOTrainer`` and ``GRPOConfig``."""

from entroshape.engines.step_record import StepRecord
from entroshape.engines.trl.config import ShapedGRPOConfig
from entroshape.engines.trl.trainer import ShapedGRPOTrainer

__all__ = ["ShapedGRPOConfig", "ShapedGRPOTrainer", "StepRecord"]
