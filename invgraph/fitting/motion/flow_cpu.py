"""Corners, and following them from picture to picture, in compiled code.

Pictures are ``h w`` float32; pixel centres are at +0.5. Pyramids are tuples, finest first.
"""

import math

import numpy as np

from invgraph.kernels.threads import finish_and_take, inner, kernel, take, wait

POINTS = 16  # per unit of work
ROWS = 16
_RADIUS = 5  # of the window that is compared
_SIDE = 2 * _RADIUS + 1
_STEPS = 15
_STILL = 0.01  # pixels: a step below it is the last
_FLAT = 1.0  # squared levels: windows whose weaker gradient is below are not followed


@inner
def sample(image, u, v):
    """Bilinear value at a place whose four neighbours are inside."""
    x, y = u - 0.5, v - 0.5
    j, i = int(x), int(y)
    a, b = x - j, y - i
    top = image[i, j] + a * (image[i, j + 1] - image[i, j])
    low = image[i + 1, j] + a * (image[i + 1, j + 1] - image[i + 1, j])
    return top + b * (low - top)


@inner
def contains(image, u, v, margin):
    """Whether a place is at least ``margin`` inside the outermost pixels' centres."""
    height, width = image.shape
    return (
        u >= 0.5 + margin
        and v >= 0.5 + margin
        and u < width - 0.5 - margin
        and v < height - 0.5 - margin
    )


@kernel
def score_corners(team, image, scores):
    """How well a pixel's surroundings can be told from those shifted in any direction.

    Args:
        image: ``h w``.
        scores: ``h w``, the smaller eigenvalue of the mean structure tensor of 5x5 pixels, squared
            levels; pixels near the border keep what they had.

    Source:
        Shi and Tomasi, Good features to track (1994).
    """
    height, width = image.shape
    units = (height + ROWS - 1) // ROWS
    unit = take(team, 0, units)
    while unit >= 0:
        for row in range(max(unit * ROWS, 3), min((unit + 1) * ROWS, height - 3)):
            for column in range(3, width - 3):
                xx, xy, yy = 0.0, 0.0, 0.0
                for i in range(row - 2, row + 3):
                    for j in range(column - 2, column + 3):
                        x = 0.5 * (image[i, j + 1] - image[i, j - 1])
                        y = 0.5 * (image[i + 1, j] - image[i - 1, j])
                        xx += x * x
                        xy += x * y
                        yy += y * y
                half = 0.5 * (xx + yy)
                scores[row, column] = (half - math.sqrt(0.25 * (xx - yy) ** 2 + xy * xy)) / 25
        unit = finish_and_take(team, 0, units)
    wait(team, 0, units)


@inner
def _follow_level(here, there, u, v, x, y, window, across, down):
    """Where in ``there`` the window around (u, v) of ``here`` is, from (x, y) on; and whether."""
    if not contains(here, u, v, _RADIUS + 1):
        return x, y, False
    total, total_x, total_y = 0.0, 0.0, 0.0
    for i in range(_SIDE):
        for j in range(_SIDE):
            p, q = u + j - _RADIUS, v + i - _RADIUS
            window[i, j] = sample(here, p, q)
            across[i, j] = 0.5 * (sample(here, p + 1, q) - sample(here, p - 1, q))
            down[i, j] = 0.5 * (sample(here, p, q + 1) - sample(here, p, q - 1))
            total += window[i, j]
            total_x += across[i, j]
            total_y += down[i, j]
    count = _SIDE * _SIDE
    mean, mean_x, mean_y = total / count, total_x / count, total_y / count
    xx, xy, yy = 0.0, 0.0, 0.0
    for i in range(_SIDE):
        for j in range(_SIDE):
            window[i, j] -= mean
            across[i, j] -= mean_x
            down[i, j] -= mean_y
            xx += across[i, j] ** 2
            xy += across[i, j] * down[i, j]
            yy += down[i, j] ** 2
    determinant = xx * yy - xy * xy
    if determinant < _FLAT * count * (xx + yy):
        return x, y, False
    for _ in range(_STEPS):
        if not contains(there, x, y, _RADIUS):
            return x, y, False
        total = 0.0
        by_x, by_y = 0.0, 0.0
        for i in range(_SIDE):
            for j in range(_SIDE):
                # Gradients are free of their mean, so a change of brightness drops out.
                error = sample(there, x + j - _RADIUS, y + i - _RADIUS) - window[i, j]
                by_x += across[i, j] * error
                by_y += down[i, j] * error
        step_x = (yy * by_x - xy * by_y) / determinant
        step_y = (xx * by_y - xy * by_x) / determinant
        x -= step_x
        y -= step_y
        if step_x * step_x + step_y * step_y < _STILL * _STILL:
            break
    return x, y, contains(there, x, y, _RADIUS)


@inner
def _follow_point(here, there, u, v, x, y, window, across, down):
    """Through the pyramid, from coarse to fine; a coarse level that cannot tell is passed over."""
    good = False
    for level in range(len(here) - 1, -1, -1):
        scale = 1.0 / (1 << level)
        p, q, good = _follow_level(
            here[level],
            there[level],
            u * scale,
            v * scale,
            x * scale,
            y * scale,
            window,
            across,
            down,
        )
        if good:
            x, y = p / scale, q / scale
    return x, y, good


@kernel
def follow(team, here, there, places, found, tolerance):
    """Follow points from one picture to the next one, and back.

    Args:
        here: pyramid.
        there: pyramid.
        places: ``n 2``, (u, v) in ``here``.
        found: ``n 2``, where to start in ``there``; becomes where they are, NaN if lost.
        tolerance: pixels, how far from its start a point may come back.

    Source:
        Lucas and Kanade (1981); Baker and Matthews, Lucas-Kanade 20 years on (2004), inverse
        compositional; Kalal et al., Forward-backward error (2010).
    """
    count = len(places)
    window = np.empty((_SIDE, _SIDE), np.float64)
    across = np.empty((_SIDE, _SIDE), np.float64)
    down = np.empty((_SIDE, _SIDE), np.float64)
    units = (count + POINTS - 1) // POINTS
    unit = take(team, 0, units)
    while unit >= 0:
        for k in range(unit * POINTS, min((unit + 1) * POINTS, count)):
            u, v = places[k, 0], places[k, 1]
            x, y, good = _follow_point(
                here, there, u, v, found[k, 0], found[k, 1], window, across, down
            )
            if good:
                p, q, good = _follow_point(there, here, x, y, u, v, window, across, down)
                good = good and (p - u) ** 2 + (q - v) ** 2 < tolerance**2
            found[k, 0] = x if good else np.nan
            found[k, 1] = y if good else np.nan
        unit = finish_and_take(team, 0, units)
    wait(team, 0, units)
