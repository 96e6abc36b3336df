"""What a run showed: a self-contained HTML report, and a table for the terminal."""

from entroshape.report.page import write_report
from entroshape.report.summary import summary_table

__all__ = ["summary_table", "write_report"]
