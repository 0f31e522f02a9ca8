"""Several curves in one picture: an SVG file that stands alone."""

from collections.abc import Mapping, Sequence
from html import escape

from invgraph.report.charts import nice_ticks

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 20, 50
# Told apart by dashes too, for eyes and printers that do not tell colours apart.
STYLES = (("#2563eb", ""), ("#d97706", "7 4"), ("#6b7280", "2 4"))


def curves_svg(
    x: Sequence[float], curves: Mapping[str, Sequence[float]], x_label: str, y_label: str
) -> str:
    """Draw up to three curves over the same x, with a legend.

    Args:
        x: increasing values, at least two.
        curves: by the name that the legend gives them; each as long as ``x``.
        x_label: what x is, with its unit.
        y_label: what y is, with its unit; the axis starts at 0.

    Raises:
        ValueError: fewer than two values, or more than three curves.
    """
    if len(x) < 2 or not 1 <= len(curves) <= len(STYLES):
        raise ValueError(f"expected 1 to 3 curves over 2 values but got {len(curves)}, {len(x)}.")
    # The legend has the room above the highest value.
    top = 1.25 * max(max(curve) for curve in curves.values()) or 1.0
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def across(value: float) -> float:
        return LEFT + (value - x[0]) / (x[-1] - x[0]) * (right - LEFT)

    def up(value: float) -> float:
        return bottom - value / top * (bottom - TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="13"><title>{escape(y_label)} over '
        f'{escape(x_label)}</title><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    ]
    for value in nice_ticks(0, top):
        parts.append(
            f'<line x1="{LEFT}" x2="{right}" y1="{up(value):.1f}" y2="{up(value):.1f}" '
            f'stroke="#e5e7eb"/><text x="{LEFT - 8}" y="{up(value) + 4:.1f}" '
            f'text-anchor="end">{value:g}</text>'
        )
    for value in nice_ticks(x[0], x[-1]):
        parts.append(
            f'<text x="{across(value):.1f}" y="{bottom + 18}" text-anchor="middle">{value:g}</text>'
        )
    parts.append(
        f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 10}" text-anchor="middle">'
        f'{escape(x_label)}</text><text transform="translate(16 {(TOP + bottom) / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>'
    )
    for place, (name, curve) in enumerate(curves.items()):
        color, dash = STYLES[place]
        stroke = f'fill="none" stroke="{color}" stroke-width="2" stroke-dasharray="{dash}"'
        points = " ".join(f"{across(a):.1f},{up(b):.1f}" for a, b in zip(x, curve, strict=True))
        y = TOP + 14 + 20 * place
        parts.append(
            f'<polyline points="{points}" {stroke}/>'
            f'<line x1="{right - 200}" x2="{right - 170}" y1="{y - 4}" y2="{y - 4}" {stroke}/>'
            f'<text x="{right - 162}" y="{y}">{escape(name)}</text>'
        )
    return "".join([*parts, "</svg>\n"])
