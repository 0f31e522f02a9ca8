"""The comparison of photos with renders."""

from typing import Any

from invgraph.report.layout import Page
from invgraph.report.measures import describe, number
from invgraph.report.pictures import data_uris, picture_size
from invgraph.runs.reader import ScoredView

VIEWS_SHOWN = 24
BUDGET = 6_500_000  # bytes
COMPARED = ("photo", "render", "difference")


def comparison_section(page: Page, heading: str) -> str:
    """Photos that a slider cuts into photo and render; empty without pictures.

    Args:
        heading: says which photos they are.
    """
    folder = page.folder
    views = _shown(folder.views)
    roles = [(view, role) for view in views for role in COMPARED if role in view.pictures]
    uris = data_uris([view.pictures[role] for view, role in roles], BUDGET)
    records: dict[str, dict[str, Any]] = {}
    for (view, role), uri in zip(roles, uris, strict=True):
        records.setdefault(view.name, {"name": view.name, **_captions(view)})[role] = uri
    shown = [record for record in records.values() if record["photo"] and record["render"]]
    if not shown:
        return ""
    for record in shown:
        record["size"] = picture_size(record["photo"])
    page.script("compare.js", "compare-data", shown)
    total = sum(view.split != "train" for view in folder.views)
    some = f" {len(shown)} of {total} are shown." if total > len(shown) else ""
    return f"""<section id="compare" aria-labelledby="compare-title">
<h2 id="compare-title">{heading}</h2>
<p class="hint">Drag across the picture, or focus it and use the arrow keys.
The difference is magnified.{some}</p>
<div class="stage"><img class="left" alt=""><img class="right" alt="">
<span class="edge"></span><span class="tag photo">Photo</span><span class="tag other"></span>
<input type="range" min="0" max="100" value="50" step="0.5"
 aria-label="Share of the picture that shows the photo">
</div>
<div class="bar"><button type="button" data-role="render">Render</button>
<button type="button" data-role="difference">Difference</button><span class="push"></span></div>
<div class="strip" role="group" aria-label="Choose a photo"></div>
<noscript><p class="hint">The comparison needs JavaScript.</p></noscript>
</section>"""


def _shown(views: list[ScoredView]) -> list[ScoredView]:
    """Held-out views with pictures, at most ``VIEWS_SHOWN`` spread evenly."""
    held_out = [view for view in views if view.pictures and view.split != "train"]
    step = max(1, -(-len(held_out) // VIEWS_SHOWN))
    return held_out[::step]


def _captions(view: ScoredView) -> dict[str, str]:
    scores = []
    for key, value in view.scores.items():
        label, unit = describe(key)
        scores.append(f"{label} {number(value, unit)} {unit}".strip())
    psnr = view.scores.get("psnr_mask_db")
    return {
        "caption": " · ".join([view.name, *scores[:3]]),
        "short": f"{psnr:.1f} dB" if psnr is not None else view.name[-12:],
    }
