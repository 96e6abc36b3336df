"""Reports of a run: a self-contained HTML page, and a table for the terminal."""

from entroshape.report.page import write_report
from entroshape.report.summary import summary_table

__all__ = ["summary_table", "write_report"]
