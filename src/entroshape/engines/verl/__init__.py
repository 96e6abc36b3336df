"""verl as the engine: GTPO, GRPO-S and the others in an existing verl command line.

verl loads ``entroshape.engines.verl.plugin`` by itself, in every process, through its ``verl.plugins`` entry point:

    python -m verl.trainer.main_ppo trainer.v1.trainer_mode=entroshape_sync algorithm.adv_estimator=gtpo ...

Nothing here imports verl but the modules that register something with it.
"""

from entroshape.engines.verl.options import ESTIMATORS, TRAINER_MODE, Plan, plan

__all__ = ["ESTIMATORS", "TRAINER_MODE", "Plan", "plan"]
