"""The sums over pixels from which a light is solved: the compiled kernel."""

import numpy as np

from invgraph.kernels.threads import finish_and_take, inner, kernel, take, wait
from invgraph.rendering.harmonics_cpu import DIRECTION, SIZE, VALUE, F, W, basis

COUNT, MOMENTS = 9, 25  # harmonics of order 2 and 4
# Rows behind the table of the harmonics: squared albedo and its product with the image, weighted;
# then what is summed.
SQUARE, CROSS = SIZE, SIZE + 3 * W
MOMENT = SIZE + 6 * W
SUM = MOMENT + 3 * MOMENTS * W
TABLE = SUM + 3 * COUNT * W


def _adder(first, last, source, target):
    """A kernel that adds the products of three rows and some harmonics to what is summed."""

    @inner
    def add(t):
        for i in range(W):
            a, b, c = t[source + i], t[source + W + i], t[source + 2 * W + i]
            for k in range(first, last):
                y = t[VALUE + k * W + i]
                t[target + 3 * k * W + i] += a * y
                t[target + (3 * k + 1) * W + i] += b * y
                t[target + (3 * k + 2) * W + i] += c * y

    return add


# A few harmonics at a time: such a loop becomes vector instructions.
_square_0, _square_1, _square_2 = (
    _adder(k, min(k + 9, MOMENTS), SQUARE, MOMENT) for k in (0, 9, 18)
)
_cross = _adder(0, COUNT, CROSS, SUM)


@kernel
def accumulate(team, image, albedo, normal, weight, moments, sums):
    """Sums of the normal equations, an image a unit of work.

    Args:
        image, albedo, normal: ``b n 3``.
        weight: ``b n 1``.
        moments: ``b 3 25``, receives ``sum w albedo**2 Y`` of order 4.
        sums: ``b 3 9``, receives ``sum w albedo image Y`` of order 2.
    """
    t = np.zeros(TABLE, np.float32)
    images, size = weight.shape[0], weight.shape[1]
    unit = take(team, 0, images)
    while unit >= 0:
        t[SQUARE:TABLE] = F(0)
        filled = 0
        for pixel in range(size):
            w = weight[unit, pixel, 0]
            if w > 0:
                for c in range(3):
                    a = albedo[unit, pixel, c]
                    t[DIRECTION + c * W + filled] = normal[unit, pixel, c]
                    t[SQUARE + c * W + filled] = w * a * a
                    t[CROSS + c * W + filled] = w * a * image[unit, pixel, c]
                filled += 1
            if filled == W or (pixel == size - 1 and filled > 0):
                for i in range(filled, W):
                    for c in range(3):
                        t[SQUARE + c * W + i] = F(0)
                        t[CROSS + c * W + i] = F(0)
                basis(t, 4)
                _square_0(t)
                _square_1(t)
                _square_2(t)
                _cross(t)
                filled = 0
        for c in range(3):
            for k in range(MOMENTS):
                total = 0.0
                for i in range(W):
                    total += t[MOMENT + (3 * k + c) * W + i]
                moments[unit, c, k] = total
            for k in range(COUNT):
                total = 0.0
                for i in range(W):
                    total += t[SUM + (3 * k + c) * W + i]
                sums[unit, c, k] = total
        unit = finish_and_take(team, 0, images)
    wait(team, 0, images)
