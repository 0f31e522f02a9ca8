"""Which depths are confirmed by other photos, and what fills the rest, in compiled code."""

import numpy as np

from invgraph.kernels.threads import finish_and_take, inner, kernel, take, wait

ROWS = 16


@inner
def _land(matrix, u, v, inverse_depth):
    """Pixel of the source, and depth there over depth here."""
    x = matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2] + inverse_depth * matrix[0, 3]
    y = matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2] + inverse_depth * matrix[1, 3]
    z = matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2] + inverse_depth * matrix[2, 3]
    return x / z, y / z, z


@kernel
def agree(team, here, there, forth, back, tolerance, votes):
    """Count sources whose depth leads back to where a pixel started.

    Args:
        here: ``h w``, inverse depth of the reference.
        there: ``h2 w2``, inverse depth of the source.
        forth: ``3 4``, from the reference to the source.
        back: ``3 4``, from the source to the reference.
        tolerance: pixels.
        votes: ``h w``, one more where the source agrees.
    """
    height, width = here.shape
    units = (height + ROWS - 1) // ROWS
    unit = take(team, 0, units)
    while unit >= 0:
        for row in range(unit * ROWS, min((unit + 1) * ROWS, height)):
            for column in range(width):
                u, v = column + 0.5, row + 0.5
                x, y, z = _land(forth, u, v, here[row, column])
                if not (z > 0 and 0 <= x < there.shape[1] and 0 <= y < there.shape[0]):
                    continue
                i, j = int(y), int(x)
                # The source's own depth at the very place where this pixel lands.
                a, b, c = _land(back, x, y, there[i, j])
                if c <= 0:
                    continue
                if (a - u) ** 2 + (b - v) ** 2 <= tolerance**2:
                    votes[row, column] += 1
        unit = finish_and_take(team, 0, units)
    wait(team, 0, units)


@inner
def _walk(inverse_depth, valid, row, column, dy, dx):
    """The first valid value in a direction; negative when there is none."""
    y, x = row + 0.5, column + 0.5
    while True:
        y, x = y + dy, x + dx
        if not (0 <= x < valid.shape[1] and 0 <= y < valid.shape[0]):
            return np.float32(-1)
        if valid[int(y), int(x)]:
            return inverse_depth[int(y), int(x)]


@kernel
def fill(team, inverse_depth, valid, epipole, out):
    """Fill what no source sees from the farther side, along epipolar lines.

    A surface hidden from a source lies behind its neighbour along the line, so of the two valid
    depths on either side the farther one continues.

    Args:
        inverse_depth: ``h w``.
        valid: ``h w`` bool.
        epipole: homogeneous pixel of the source's position in the image.
        out: ``h w``, receives ``inverse_depth`` where valid, else what fills it; -1 if nothing.
    """
    height, width = valid.shape
    units = (height + ROWS - 1) // ROWS
    unit = take(team, 0, units)
    while unit >= 0:
        for row in range(unit * ROWS, min((unit + 1) * ROWS, height)):
            for column in range(width):
                if valid[row, column]:
                    out[row, column] = inverse_depth[row, column]
                    continue
                dx = epipole[0] - (column + 0.5) * epipole[2]
                dy = epipole[1] - (row + 0.5) * epipole[2]
                size = max(abs(dx), abs(dy))
                if size > 0:
                    dx, dy = dx / size, dy / size
                else:
                    dx, dy = 1.0, 0.0
                one = _walk(inverse_depth, valid, row, column, dy, dx)
                two = _walk(inverse_depth, valid, row, column, -dy, -dx)
                if one < 0 or two < 0:
                    out[row, column] = max(one, two)
                else:
                    out[row, column] = min(one, two)
        unit = finish_and_take(team, 0, units)
    wait(team, 0, units)
