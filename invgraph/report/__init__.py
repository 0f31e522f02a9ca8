"""What a person looks at after a run: one self-contained page, a film, a log for rerun."""

from invgraph.report.object_page import write_report

__all__ = ["write_report"]
