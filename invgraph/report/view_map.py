"""From where an object is seen: samples of beliefs on the viewing sphere, as an inline SVG."""

import math
from collections.abc import Sequence

SIDE, PAD = 320, 26
LOWEST = -30.0  # elevation at the rim, degrees; what is below is drawn there


def view_map(guess: Sequence[Sequence[float]], belief: Sequence[Sequence[float]]) -> str:
    """Draw viewpoints as seen from above the object; empty without any.

    Args:
        guess: azimuth from the object's z axis, which points down in the drawing, towards its x
            axis, which points right, and elevation; degrees.
        belief: the same, drawn over them.
    """
    if not (guess or belief):
        return ""
    rings = "".join(
        f'<circle class="{"shape" if elevation == 0 else "grid"}" fill="none" cx="{SIDE / 2}" '
        f'cy="{SIDE / 2}" r="{_reach(elevation):.1f}"/>'
        for elevation in (60.0, 30.0, 0.0)
    )
    middle, rim = SIDE / 2, _reach(0.0)
    names = "".join(
        f'<text x="{middle + x * (rim + 12):.0f}" y="{middle + y * (rim + 12) + 4:.0f}" '
        f'text-anchor="middle">{name}</text>'
        for x, y, name in ((0, 1, "+z"), (1, 0, "+x"), (0, -1, "−z"), (-1, 0, "−x"))
    )
    dots = "".join(
        f'<circle class="{kind}" opacity=".55" cx="{x:.1f}" cy="{y:.1f}" r="{size}"/>'
        for kind, points, size in (("test", guess, 5), ("train", belief, 4))
        for x, y in map(_at, points)
    )
    return (
        f'<svg class="chart map" viewBox="0 0 {SIDE} {SIDE}" role="img" aria-label="Samples of '
        f'where the camera is on the sphere around the object">{rings}{names}{dots}</svg>'
    )


def _at(point: Sequence[float]) -> tuple[float, float]:
    azimuth, reach = math.radians(point[0]), _reach(max(point[1], LOWEST))
    return SIDE / 2 + reach * math.sin(azimuth), SIDE / 2 + reach * math.cos(azimuth)


def _reach(elevation: float) -> float:
    """Pixels from the middle: equal areas of the sphere are equal areas of the drawing."""
    outer = math.sin(math.radians(90 - LOWEST) / 2)
    return (SIDE / 2 - PAD) * math.sin(math.radians(90 - elevation) / 2) / outer
