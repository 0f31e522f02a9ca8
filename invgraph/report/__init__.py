"""What a person looks at after a fit: one self-contained page."""

from invgraph.report.page import write_report

__all__ = ["write_report"]
