from .page import write_report
from .summary import summary_table

__all__ = ["summary_table", "write_report"]
