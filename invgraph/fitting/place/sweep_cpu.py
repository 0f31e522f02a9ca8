"""How well each of many depths explains each pixel, in compiled code."""

import numpy as np

from invgraph.kernels.threads import finish, finish_and_take, inner, kernel, take, wait

ROWS = 16  # rows a unit of work
LINES = 8  # scan lines a unit of work
_UP, _LEFT = 3, 4  # half the census window
UNKNOWN = 110  # the cost of what no source sees, of 255
_CENSUS = np.float32(255 * 0.62 / 62)  # of every differing bit
_STEEP = np.float32(255 * 0.38)  # of a gradient that differs by _STEEP_AT or more
_STEEP_AT = np.float32(0.06)


@inner
def _count_bits(x):
    """Population count (Hacker's Delight 5-1), which vectorises."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@inner
def _census(image, row, bits):
    """One bit per neighbour in a 7 x 9 window: whether it is darker than the centre."""
    width = len(bits)
    bits[:] = 0
    for up in range(-_UP, _UP + 1):
        for left in range(-_LEFT, _LEFT + 1):
            if up == 0 and left == 0:
                continue
            for x in range(width):
                darker = image[row + up, x + _LEFT + left] < image[row, x + _LEFT]
                bits[x] = (bits[x] << np.uint64(1)) | np.uint64(darker)


@inner
def _warp(source, height, width, matrix, inverse_depth, top, out):
    """Sample a source where a plane facing the reference maps the reference's pixels.

    ``out`` has a border of ``_UP`` rows and ``_LEFT`` columns; NaN outside the source.
    """
    for row in range(out.shape[0]):
        v = np.float32(top + row - _UP + 0.5)
        x0 = matrix[0, 1] * v + matrix[0, 2] + inverse_depth * matrix[0, 3]
        y0 = matrix[1, 1] * v + matrix[1, 2] + inverse_depth * matrix[1, 3]
        z0 = matrix[2, 1] * v + matrix[2, 2] + inverse_depth * matrix[2, 3]
        for column in range(out.shape[1]):
            u = np.float32(column - _LEFT + 0.5)
            z = matrix[2, 0] * u + z0
            x = (matrix[0, 0] * u + x0) / z - np.float32(0.5)
            y = (matrix[1, 0] * u + y0) / z - np.float32(0.5)
            inside = (z > 0) & (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
            if not inside:
                out[row, column] = np.nan
                continue
            i, j = min(int(y), height - 2), min(int(x), width - 2)
            fy, fx = y - np.float32(i), x - np.float32(j)
            above = source[i, j] + fx * (source[i, j + 1] - source[i, j])
            below = source[i + 1, j] + fx * (source[i + 1, j + 1] - source[i + 1, j])
            out[row, column] = above + fy * (below - above)


@kernel
def sweep(team, reference, sources, sizes, matrices, planes, volume):
    """Matching cost of every pixel at every inverse depth.

    Census and gradients are compared on the source as warped by the plane; of several sources the
    better half counts, because the others may be occluded.

    Args:
        reference: ``h w`` grey.
        sources: ``k hs ws`` grey, padded to a common size.
        sizes: ``k 2``, true height and width.
        matrices: ``k 3 4``: (u, v, 1, inverse depth) of the reference to a source's pixels.
        planes: inverse depths.
        volume: ``h w d`` uint8, receives the cost.
    """
    height, width = reference.shape
    count = len(sources)
    units = (height + ROWS - 1) // ROWS
    unit = take(team, 0, units)
    while unit >= 0:
        top = unit * ROWS
        rows = min(ROWS, height - top)
        near = np.empty((rows + 2 * _UP, width + 2 * _LEFT), np.float32)
        for row in range(rows + 2 * _UP):
            y = min(max(top + row - _UP, 0), height - 1)
            for column in range(width + 2 * _LEFT):
                near[row, column] = reference[y, min(max(column - _LEFT, 0), width - 1)]
        known = np.empty((rows, width), np.uint64)
        for row in range(rows):
            _census(near, row + _UP, known[row])
        other = np.empty_like(near)
        bits = np.empty(width, np.uint64)
        costs = np.empty((count, rows, width), np.float32)
        kept = np.empty(count, np.float32)
        for plane in range(len(planes)):
            for k in range(count):
                _warp(sources[k], sizes[k, 0], sizes[k, 1], matrices[k], planes[plane], top, other)
                for row in range(rows):
                    r = row + _UP
                    _census(other, r, bits)
                    for x in range(width):
                        c = x + _LEFT
                        different = np.float32(_count_bits(bits[x] ^ known[row, x]))
                        across = abs(
                            (near[r, c + 1] - near[r, c - 1]) - (other[r, c + 1] - other[r, c - 1])
                        )
                        down = abs(
                            (near[r + 1, c] - near[r - 1, c]) - (other[r + 1, c] - other[r - 1, c])
                        )
                        steep = across + down
                        # NaN beyond the border is as bad as it gets.
                        share = steep / _STEEP_AT if steep < _STEEP_AT else np.float32(1)
                        cost = _CENSUS * different + _STEEP * share
                        costs[k, row, x] = cost if other[r, c] == other[r, c] else np.float32(1e9)
            for row in range(rows):
                for x in range(width):
                    seen = 0
                    for k in range(count):
                        cost = costs[k, row, x]
                        if cost < np.float32(1e8):
                            place = seen
                            while place > 0 and kept[place - 1] > cost:
                                kept[place] = kept[place - 1]
                                place -= 1
                            kept[place] = cost
                            seen += 1
                    if seen == 0:
                        volume[top + row, x, plane] = UNKNOWN
                        continue
                    half = (seen + 1) // 2
                    total = np.float32(0)
                    for k in range(half):
                        total += kept[k]
                    volume[top + row, x, plane] = np.uint8(total / np.float32(half))
        unit = finish_and_take(team, 0, units)
    wait(team, 0, units)


@inner
def _line(volume, image, y, x, dy, dx, small, large, total):
    """Add one path of semi-global matching to ``total``."""
    height, width, depths = volume.shape
    before = np.empty(depths + 2, np.float32)
    after = np.empty(depths + 2, np.float32)
    before[0] = before[depths + 1] = after[0] = after[depths + 1] = np.float32(1e9)
    least = np.float32(1e9)
    for d in range(depths):
        cost = np.float32(volume[y, x, d])
        before[d + 1] = cost
        total[y, x, d] += cost
        least = min(least, cost)
    while True:
        ny, nx = y + dy, x + dx
        if ny < 0 or nx < 0 or ny >= height or nx >= width:
            return
        step = np.float32(0)
        for c in range(image.shape[2]):
            step = max(step, abs(image[ny, nx, c] - image[y, x, c]))
        # Where colours change, depth may: the penalty of a jump falls.
        jump = max(large / (1 + step * np.float32(12)), np.float32(1.2) * small)
        y, x = ny, nx
        ceiling = least + jump
        lowest = np.float32(1e9)
        for d in range(depths):
            best = min(before[d + 1], ceiling)
            best = min(best, min(before[d], before[d + 2]) + small)
            cost = np.float32(volume[y, x, d]) + best - least
            after[d + 1] = cost
            total[y, x, d] += cost
            lowest = min(lowest, cost)
        least = lowest
        before, after = after, before


@kernel
def aggregate(team, volume, image, small, large, total):
    """Semi-global matching: costs summed along eight directions with penalties for steps.

    Args:
        volume: ``h w d`` uint8.
        image: ``h w c``, whose edges lower the penalty of a jump.
        small: penalty of a step by one plane.
        large: penalty of a jump, before edges lower it.
        total: ``h w d``, zeros; receives the sum.
    """
    height, width = volume.shape[:2]
    phase = 0
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            if dy == 0 and dx == 0:
                continue
            lines = height if dy == 0 else width if dx == 0 else height + width - 1
            units = (lines + LINES - 1) // LINES
            unit = take(team, phase, units)
            while unit >= 0:
                for line in range(unit * LINES, min((unit + 1) * LINES, lines)):
                    y = 0 if dy > 0 else height - 1
                    x = 0 if dx > 0 else width - 1
                    if dy == 0:
                        y = line
                    elif dx == 0 or line < width:
                        x = line
                    else:
                        y += dy * (line - width + 1)
                    _line(volume, image, y, x, dy, dx, small, large, total)
                unit = finish_and_take(team, phase, units)
            wait(team, phase, units)
            phase += 1


@kernel
def pick(team, total, index):
    """The plane of least cost, and where between planes it is.

    Args:
        total: ``h w d``.
        index: ``h w``, receives the plane's number with a fraction.
    """
    height, width, depths = total.shape
    units = (height + ROWS - 1) // ROWS
    unit = take(team, 0, units)
    while unit >= 0:
        for y in range(unit * ROWS, min((unit + 1) * ROWS, height)):
            for x in range(width):
                best = 0
                for d in range(1, depths):
                    if total[y, x, d] < total[y, x, best]:
                        best = d
                least = total[y, x, best]
                offset = np.float32(0)
                if 0 < best < depths - 1:
                    low, high = total[y, x, best - 1], total[y, x, best + 1]
                    # Two lines of equal slope suit costs with a sharp minimum better than a
                    # parabola (Haller & Nedevschi 2012).
                    bend = max(low, high) - least
                    if bend > 0:
                        offset = np.float32(0.5) * (low - high) / bend
                index[y, x] = np.float32(best) + offset
        finish(team, 0)
        unit = take(team, 0, units)
    wait(team, 0, units)
