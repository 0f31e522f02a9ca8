"""Line charts as inline SVG; colours come from the page, so they follow its dark or light theme."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 520, 280
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 24, 44
Number = int | float
MAX_POINTS = 600


@dataclass(frozen=True)
class Axis:
    """What an axis measures; ``unit`` may be empty."""

    label: str
    unit: str = ""
    log: bool = False

    @property
    def text(self) -> str:
        return f"{self.label} ({self.unit})" if self.unit else self.label


def line_chart(
    x: Sequence[Number],
    y: Sequence[Number],
    stages: Sequence[str],
    x_axis: Axis,
    y_axis: Axis,
    *,
    smooth: bool = True,
) -> str:
    """Draw y over x with ticks; the curve breaks where ``stages`` changes, and each stage is named.

    Args:
        x: increasing values, as many as ``y`` and ``stages``.
        y: values; those that are not positive are left out on a logarithmic axis.
        smooth: draw a running mean over the values, which are then thin.

    Returns:
        An ``<svg>`` element, or an empty string when fewer than two points can be drawn.
    """
    points = [p for p in zip(x, y, stages, strict=True) if p[1] > 0 or not y_axis.log]
    if len(points) < 2:
        return ""
    x_low, x_high = points[0][0], max(point[0] for point in points)
    values = sorted(point[1] for point in points)
    # A single wild step must not flatten the rest of the curve.
    y_low, y_high = values[len(values) // 200], values[-1 - len(values) // 200]
    x_map, x_ticks = _scale(x_low, x_high, LEFT, WIDTH - RIGHT, log=False)
    y_map, y_ticks = _scale(y_low, y_high, HEIGHT - BOTTOM, TOP, log=y_axis.log)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(y_axis.text)} over {escape(x_axis.text)}, '
        f'from {points[0][1]:.4g} to {points[-1][1]:.4g}">'
    ]
    for value in y_ticks:
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y_map(value):.1f}" '
            f'y2="{y_map(value):.1f}"/><text class="tick" x="{LEFT - 7}" '
            f'y="{y_map(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    for value in x_ticks:
        parts.append(
            f'<line class="axis" x1="{x_map(value):.1f}" x2="{x_map(value):.1f}" '
            f'y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM + 4}"/><text class="tick" '
            f'x="{x_map(value):.1f}" y="{HEIGHT - BOTTOM + 18}" '
            f'text-anchor="middle">{value:g}</text>'
        )
    parts.append(
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" '
        f'y2="{HEIGHT - BOTTOM}"/>'
        f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 7}" '
        f'text-anchor="middle">{escape(x_axis.text)}</text>'
        f'<text class="label" transform="translate(13 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_axis.text)}</text>'
    )
    for stage, stretch in _stretches(points):
        start = x_map(stretch[0][0])
        if start > LEFT + 1:
            parts.append(
                f'<line class="stage" x1="{start:.1f}" x2="{start:.1f}" y1="{TOP}" '
                f'y2="{HEIGHT - BOTTOM}"/>'
            )
        room = x_map(stretch[-1][0]) - start
        if stage and room > 6.5 * len(stage):
            parts.append(
                f'<text class="stage-name" x="{start + 3:.1f}" y="{TOP - 7}">{escape(stage)}</text>'
            )
        thin = stretch[:: math.ceil(len(stretch) / MAX_POINTS)]
        exact = [point[1] for point in thin]
        for style, ys in (("raw", exact), ("curve", _smooth(exact) if smooth else exact)):
            path = " ".join(
                f"{x_map(point[0]):.1f},{min(max(y_map(value), TOP), HEIGHT - BOTTOM):.1f}"
                for point, value in zip(thin, ys, strict=True)
            )
            parts.append(f'<polyline class="{style}" points="{path}"/>')
    return "".join([*parts, "</svg>"])


def nice_ticks(low: Number, high: Number, count: int = 5) -> list[float]:
    """About ``count`` round values that lie within [low, high]; at least one."""
    if high <= low:
        return [float(low)]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _log_ticks(low: Number, high: Number) -> list[float]:
    digits = (1,) if high / low > 1e3 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = max(1, len(powers) // 6)
    ticks = [digit * 10.0**power for power in powers[::every] for digit in digits]
    ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
    return ticks if len(ticks) > 1 else nice_ticks(low, high)


def _scale(low: Number, high: Number, start: Number, end: Number, log: bool):
    """A function from value to pixel, and the tick values."""
    if log:
        low, high = (low, high) if high > low * 1.01 else (low / 1.1, high * 1.1)
        a, b = math.log(low), math.log(high)
        return (
            lambda value: start + (math.log(value) - a) / (b - a) * (end - start),
            _log_ticks(low, high),
        )
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        pad = max(abs(low) * 0.1, 1.0)
        low, high = low - pad, high + pad
    return (
        lambda value: start + (value - low) / (high - low) * (end - start),
        nice_ticks(low, high),
    )


def _stretches(points: list[tuple[Number, Number, str]]):
    """Consecutive points of one stage, as (stage, points)."""
    start = 0
    for end in range(1, len(points) + 1):
        if end == len(points) or points[end][2] != points[start][2]:
            yield points[start][2], points[start:end]
            start = end


def _smooth(values: list[Number], window: int = 25) -> list[float]:
    """Centred running mean that shrinks at both ends, so that the ends stay where they are."""
    total = [0.0]
    for value in values:
        total.append(total[-1] + value)
    out = []
    for index in range(len(values)):
        half = min(window // 2, len(values) // 8, index, len(values) - 1 - index)
        out.append((total[index + half + 1] - total[index - half]) / (2 * half + 1))
    return out
