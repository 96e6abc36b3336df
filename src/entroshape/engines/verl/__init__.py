"""The methods in verl: GTPO, GRPO-S and the others in an existing verl command line.

verl loads ``entroshape.engines.verl.plugin`` in every process through the ``verl.plugins`` entry point:

    python -m verl.trainer.main_ppo trainer.v1.trainer_mode=entroshape_sync algorithm.adv_estimator=gtpo ...

Only the modules that register something with verl import it.
"""

from entroshape.engines.verl.options import ESTIMATORS, TRAINER_MODE, Plan, plan

__all__ = ["ESTIMATORS", "TRAINER_MODE", "Plan", "plan"]
