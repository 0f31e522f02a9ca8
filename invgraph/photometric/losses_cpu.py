"""The photometric loss and its slope in one compiled pass."""

import numpy as np
from numba import njit

from invgraph.kernels.threads import finish_and_take, take, wait

ROWS = 32  # rows a unit of work


@njit(nogil=True, cache=True, fastmath={"contract", "nsz", "arcp"})
def photometric(team, color, photo, weight, small, slope, sums):
    """Huber's loss of the difference in sRGB; rows of all images in one axis.

    Args:
        color: ``n w 3``, linear.
        photo: ``n w 3``, sRGB.
        weight: ``n w``.
        small: differences below this count by their square.
        slope: ``n w 3``, receives the derivative of the weighted sum to ``color``.
        sums: per unit, receives the weighted sum of differences and the sum of weights.
    """
    units = len(sums)
    unit = take(team, 0, units)
    while unit >= 0:
        difference, total = 0.0, 0.0
        for row in range(unit * ROWS, min((unit + 1) * ROWS, len(color))):
            for column in range(weight.shape[1]):
                w = weight[row, column]
                if w == 0:
                    for c in range(3):
                        slope[row, column, c] = 0
                    continue
                total += w
                third = w / np.float32(3)
                for c in range(3):
                    x = color[row, column, c]
                    size = abs(x)
                    if size <= np.float32(0.0031308):
                        value, steep = np.float32(12.92) * x, np.float32(12.92)
                    else:
                        root = np.float32(1.055) * size ** np.float32(1 / 2.4)
                        value = root - np.float32(0.055)
                        if x < 0:
                            value = -value
                        steep = root / (np.float32(2.4) * size)
                    gap = value - photo[row, column, c]
                    if abs(gap) < small:
                        difference += third * gap * gap / (2 * small)
                        slope[row, column, c] = third * steep * gap / small
                    else:
                        difference += third * (abs(gap) - small / 2)
                        slope[row, column, c] = third * steep if gap > 0 else -third * steep
        sums[unit, 0] = difference
        sums[unit, 1] = total
        unit = finish_and_take(team, 0, units)
    wait(team, 0, units)
