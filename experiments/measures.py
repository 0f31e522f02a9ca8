"""Measures: the form that the numbers of every experiment have."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

Row = dict[str, str | float]


def command_line(description: str | None) -> argparse.ArgumentParser:
    """A parser with an experiment's docstring as its help, which takes ``--json FILE``."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the measures to this file")
    return parser


def row(name: str, value: float, unit: str, better: str = "lower") -> Row:
    """One measure, printed as soon as it is known."""
    print(f"{name:36} {value:9.4f} {unit}", flush=True)
    return {"name": name, "value": float(value), "unit": unit, "better": better}


def write(rows: Sequence[Row], file: Path | None) -> None:
    """Keep the measures, if a file was asked for."""
    if file:
        file.write_text(json.dumps(rows, indent=1) + "\n")


def drawing(chart: str) -> str:
    """An SVG file of a chart of the report's, whose colours are else the page's."""
    style = (
        "<style>text{font:12px sans-serif;fill:#444}line{stroke:#bbb}"
        "polyline{fill:none;stroke:#2563b8;stroke-width:2}</style>"
    )
    head, rest = chart.split(">", 1)
    head = head.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    return f'{head}>{style}<rect width="100%" height="100%" fill="white"/>{rest}'
