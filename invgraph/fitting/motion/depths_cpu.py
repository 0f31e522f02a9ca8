"""First inverse depths of points, by trying many, in compiled code."""

import math

import numpy as np

from invgraph.fitting.motion.flow_cpu import contains, sample
from invgraph.fitting.motion.photometric_cpu import relative
from invgraph.geometry.distortion_cpu import bend, straighten
from invgraph.kernels.threads import finish_and_take, inner, kernel, take, wait

_RADIUS = 2
_COUNT = (2 * _RADIUS + 1) ** 2


@inner
def _window(image, u, v, out):
    """Levels around a place, freed of mean and spread; false where the window is flat or cut."""
    if not contains(image, u, v, _RADIUS + 0.0):
        return False
    total, squares = 0.0, 0.0
    k = 0
    for i in range(-_RADIUS, _RADIUS + 1):
        for j in range(-_RADIUS, _RADIUS + 1):
            out[k] = sample(image, u + j, v + i)
            total += out[k]
            squares += out[k] * out[k]
            k += 1
    mean = total / _COUNT
    spread = squares - total * mean
    if spread < _COUNT:  # a standard deviation of one level
        return False
    factor = 1 / math.sqrt(spread)
    for k in range(_COUNT):
        out[k] = (out[k] - mean) * factor
    return True


@kernel
def search(
    team, images, hosts, starts, places, targets, poses, lens, candidates, inverses, likeness
):
    """The inverse depth at which a point looks most alike in its host and its targets.

    Args:
        images: ``frames h w``, the finest level.
        hosts: ``k``, frames.
        starts: per host its first point, and one more.
        places: ``n 2``, pixels.
        targets: ``k m``, frames; -1 for none.
        poses: ``frames 4 4``, camera_from_world.
        lens: fx, fy, cx, cy, k1, k2, p1, p2, k3, k4, k5, k6.
        candidates: ``k c``, inverse depths, ascending.
        inverses: ``n``; the best, between candidates by a parabola.
        likeness: ``n 2``, its mean normalised correlation, and the best one that is no neighbour's.
    """
    count, most = targets.shape
    number = candidates.shape[1]
    here, there = np.empty(_COUNT), np.empty(_COUNT)
    bent = np.empty(7)
    motion = np.empty((most, 3, 4))
    scores = np.empty(number)
    unit = take(team, 0, count)
    while unit >= 0:
        host = hosts[unit]
        for m in range(most):
            if targets[unit, m] >= 0:
                relative(poses[targets[unit, m]], poses[host], motion[m])
        for n in range(starts[unit], starts[unit + 1]):
            inverses[n] = candidates[unit, 0]
            likeness[n] = -1
            if not _window(images[host], places[n, 0], places[n, 1], here):
                continue
            x, y = straighten(places[n, 0], places[n, 1], lens, bent)
            best = -1
            for c in range(number):
                total, seen = 0.0, 0
                for m in range(most):
                    if targets[unit, m] < 0:
                        continue
                    a = motion[m]
                    inverse = candidates[unit, c]
                    z = a[2, 0] * x + a[2, 1] * y + a[2, 2] + inverse * a[2, 3]
                    if z <= 1e-3:
                        continue
                    p = (a[0, 0] * x + a[0, 1] * y + a[0, 2] + inverse * a[0, 3]) / z
                    q = (a[1, 0] * x + a[1, 1] * y + a[1, 2] + inverse * a[1, 3]) / z
                    bend(p, q, lens, bent)
                    u, v = lens[0] * bent[0] + lens[2], lens[1] * bent[1] + lens[3]
                    if not _window(images[targets[unit, m]], u, v, there):
                        continue
                    product = 0.0
                    for k in range(_COUNT):
                        product += here[k] * there[k]
                    # A target that shows something else must not outweigh those that agree.
                    total += max(product, 0.0)
                    seen += 1
                scores[c] = total / seen if seen > 0 else -1.0
                if best < 0 or scores[c] > scores[best]:
                    best = c
            likeness[n, 0] = scores[best]
            for c in range(number):
                if abs(c - best) > 3 and scores[c] > likeness[n, 1]:
                    likeness[n, 1] = scores[c]
            shift = 0.0
            if 0 < best < number - 1:
                left, right = scores[best - 1], scores[best + 1]
                curve = left - 2 * scores[best] + right
                if curve < 0 and left >= 0 and right >= 0:
                    shift = 0.5 * (left - right) / curve
            low = candidates[unit, best]
            step = candidates[unit, 1] - candidates[unit, 0]
            inverses[n] = low + shift * step
        unit = finish_and_take(team, 0, count)
    wait(team, 0, count)
