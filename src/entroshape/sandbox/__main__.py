"""``python -m entroshape.sandbox``: what the sandbox enforces on this machine; exit status 1 if that is not all."""

import sys

from entroshape.tasks.enforcement import sandbox_report

report = sandbox_report()
print(report)
sys.exit(not report.complete)
