"""``python -m entroshape.sandbox``: shows what the sandbox enforces on this machine; exit status 1 if incomplete."""

import sys

from entroshape.tasks.enforcement import sandbox_report

report = sandbox_report()
print(report)
sys.exit(not report.complete)
