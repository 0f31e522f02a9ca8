"""What the report pages of all kinds of runs have in common."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from invgraph.files.atomic import write_atomically
from invgraph.report.measures import describe, duration, number
from invgraph.runs.facts import Kind
from invgraph.runs.reader import RunContents, finite

ITEMS_SHOWN = 6


COMMANDS: dict[Kind, str] = {
    "object": "invgraph fit",
    "place": "invgraph fit",
    "pose": "invgraph fit",
    "odometry": "invgraph odometry",
    "depth": "invgraph train depth",
    "encoder": "invgraph train encoder",
    "scene": "invgraph train scene",
    "inference": "invgraph infer depth",
    "scenes": "invgraph infer scene",
}


@dataclass
class Page:
    """A page under way.

    Attributes:
        folder: the run that it is about.
        lead: one or two sentences below the title.
        missing: what a finished run would add, in words.
        sections: HTML, in their order; empty ones are left out.
        scripts: their scripts.
    """

    folder: RunContents
    lead: str = ""
    missing: list[str] = field(default_factory=list)
    sections: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)

    def write(self, headlines: Sequence[str]) -> Path:
        """Write ``report.html``; it replaces an older page at once or not at all.

        Args:
            headlines: measures for the tiles.
        """
        run = self.folder.path
        text = Template(_resource("page.html")).substitute(
            title=escape(self.folder.name),
            command=escape(COMMANDS[self.folder.kind]),
            lead=self.lead,
            notices=self._notices(),
            tiles=_tiles(self.folder, headlines),
            sections="\n".join(section for section in self.sections if section),
            style=_resource("style.css"),
            scripts="\n".join(self.scripts),
            policy=_policy(),
            version=escape(_version()),
        )
        target = run / "report.html"
        write_atomically(target, text.encode())
        return target

    def script(self, name: str, data_id: str, data: Any) -> None:
        """Add a script and the data it reads; the data cannot close its element, whatever it is."""
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
        for character in "<>&\u2028\u2029":
            text = text.replace(character, f"\\u{ord(character):04x}")
        self.scripts.append(
            f'<script type="application/json" id="{data_id}">{text}</script>\n'
            f"<script>{_resource(name)}</script>"
        )

    def _notices(self) -> str:
        if not self.missing:
            return ""
        goes_on = (
            "The same command goes on with it."
            if self.folder.kind in ("inference", "scenes")
            else f"<code>{COMMANDS[self.folder.kind]}</code> with <code>--resume</code> goes on "
            "with it."
        )
        items = "".join(f"<li>{escape(item)}</li>" for item in self.missing)
        return (
            '<div class="notice" role="status"><strong>This run is not complete.</strong> '
            f"{goes_on} Missing:"
            f"<ul>{items}</ul></div>"
        )


def _resource(name: str) -> str:
    return files(__spec__.parent).joinpath(name).read_text(encoding="utf-8")


def _version() -> str:
    try:
        return version("invgraph")
    except PackageNotFoundError:
        return "(not installed)"


def _policy() -> str:
    """Only our two scripts run and nothing is loaded: a second wall behind the escaping."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(_resource(name).encode()).digest()).decode()}'"
        for name in ("compare.js", "viewer.js")
    )
    return (
        f"default-src 'none'; img-src data: blob:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src {hashes}; base-uri 'none'; form-action 'none'"
    )


def _tiles(folder: RunContents, headlines: Sequence[str]) -> str:
    tiles = []
    for key in headlines:
        value = finite(folder.metrics.get(key))
        if value is None:
            continue
        label, unit = describe(key)
        text = duration(value) if key == "seconds" else number(value, unit)
        small = f" <small>{escape(unit)}</small>" if unit and key != "seconds" else ""
        tiles.append(f"<div><dt>{escape(label)}</dt><dd>{text}{small}</dd></div>")
    return f'<dl class="tiles">{"".join(tiles)}</dl>' if tiles else ""


def numbers_table(metrics: dict[str, Any], leave_out: Sequence[str]) -> str:
    """The measures of a run as an HTML table; empty without any."""
    rows = []
    for key, value in metrics.items():
        if key in leave_out:
            continue
        label, unit = describe(key)
        scalar = None if isinstance(value, str) else finite(value)
        if scalar is not None:
            text = escape(f"{number(scalar, unit)} {unit}")
        elif isinstance(value, str | bool):
            text = escape(str(value))
        elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            text = _listed(value)
        else:
            continue
        rows.append(f"<tr><td>{escape(label)}</td><td>{text}</td></tr>")
    return f"<div class='scroll'><table>{''.join(rows)}</table></div>" if rows else ""


def _listed(items: list[str]) -> str:
    """Items that fold away when they are many."""
    text = escape("; ".join(items))
    if len(items) <= ITEMS_SHOWN:
        return text
    return f"<details><summary>{len(items)}</summary>{text}</details>"
