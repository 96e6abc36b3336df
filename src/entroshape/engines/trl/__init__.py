"""TRL as the engine: GRPOTrainer with fine-grained credit.

from entroshape.engines.trl import ShapedGRPOConfig, ShapedGRPOTrainer
"""

from entroshape.engines.step_record import StepRecord
from entroshape.engines.trl.config import ShapedGRPOConfig
from entroshape.engines.trl.trainer import ShapedGRPOTrainer

__all__ = ["ShapedGRPOConfig", "ShapedGRPOTrainer", "StepRecord"]
