"""Settings of the whole test set.

`oracle` and `strategies` can be imported from any test: pytest puts this folder on the path because this file is in it.
"""

import os

from hypothesis import HealthCheck, settings

COMMON = {"deadline": None, "max_examples": 60, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", **COMMON)
settings.register_profile("ci", derandomize=True, print_blob=True, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))
