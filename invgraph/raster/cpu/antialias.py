"""Blend colours across silhouettes: the compiled kernels of ``antialias``.

Two neighbouring pixel centres A and B, A nearer. From A, walk over the surface along the segment to
B: out of A's triangle through the edge that the segment crosses first, into the triangle on the
other side, and on, until an edge has nothing behind it or a triangle that folds back. That edge is
the silhouette; where it crosses (t in [0, 1) from A) says how much of the two pixels each surface
covers. Reaching B first means that no silhouette lies between them.

The blend is that of Laine et al., Modular primitives for high-performance differentiable rendering
(2020), section 3.5, which looks at the edges of A's own triangle alone; on dense meshes these are
hardly ever silhouettes.
"""

import numpy as np

from invgraph.kernels.lanes import apart, bends16, changes16, lowest_bit
from invgraph.kernels.threads import finish_and_take, inner, kernel, reserve, take, wait

ROWS = 16  # rows of an image that are searched together
BLOCK = 1 << 16  # numbers that are copied together
_STEPS = 10_000  # a walk of so many triangles within one pixel goes round in circles


@inner
def _edge(screen, i, j, u, v, du, dv):
    """Value of the plane through edge i, j at a pixel, and its change towards the other pixel."""
    x0, y0, z0 = np.float64(screen[i, 0]), np.float64(screen[i, 1]), np.float64(screen[i, 2])
    x1, y1, z1 = np.float64(screen[j, 0]), np.float64(screen[j, 1]), np.float64(screen[j, 2])
    a, b, c = y0 * z1 - z0 * y1, z0 * x1 - x0 * z1, x0 * y1 - y0 * x1
    return a * u + (b * v + c), a * du + b * dv


@inner
def _side(screen, i, j, k):
    """On which side of edge i, j does vertex k lie?"""
    x0, y0, z0 = np.float64(screen[i, 0]), np.float64(screen[i, 1]), np.float64(screen[i, 2])
    x1, y1, z1 = np.float64(screen[j, 0]), np.float64(screen[j, 1]), np.float64(screen[j, 2])
    a, b, c = y0 * z1 - z0 * y1, z0 * x1 - x0 * z1, x0 * y1 - y0 * x1
    x2, y2, z2 = np.float64(screen[k, 0]), np.float64(screen[k, 1]), np.float64(screen[k, 2])
    return a * x2 + b * y2 + c * z2


@inner
def _walk(screen, faces, adjacent, offset, f, u, v, du, dv):
    """The silhouette edge between a pixel in face ``f`` and the next: t and its vertices' rows.

    t is 2 if there is none.
    """
    apart()
    entered = -1
    facing = _side(screen, faces[f, 0] + offset, faces[f, 1] + offset, faces[f, 2] + offset)
    for _ in range(_STEPS):
        i0, i1, i2 = faces[f, 0] + offset, faces[f, 1] + offset, faces[f, 2] + offset
        best, corner = 2.0, -1
        for k in range(3):
            if k == entered:
                continue
            i = i1 if k == 0 else (i2 if k == 1 else i0)
            j = i2 if k == 0 else (i0 if k == 1 else i1)
            value, change = _edge(screen, i, j, u, v, du, dv)
            if facing < 0:
                value, change = -value, -change
            if change < 0 and value < -change * best:
                best, corner = -value / change, k
        if corner < 0 or best >= 1.0:
            break
        i, j = faces[f, (corner + 1) % 3], faces[f, (corner + 2) % 3]
        g = adjacent[f, corner]
        silhouette = g < 0
        if not silhouette:
            entered = 0
            while faces[g, entered] == i or faces[g, entered] == j:
                entered += 1
                if entered == 3:
                    return 2.0, np.int64(-1), np.int64(-1)
            there = _side(screen, i + offset, j + offset, faces[g, entered] + offset)
            silhouette = not (facing > 0 and there < 0) and not (facing < 0 and there > 0)
        if silhouette:
            # Across an edge, area changes along u or along v, and must not be counted twice: steep
            # edges belong to pixels side by side, flat ones to pixels one above the other.
            _, along = _edge(screen, i + offset, j + offset, u, v, du, dv)
            _, aside = _edge(screen, i + offset, j + offset, u, v, dv, du)
            if abs(along) < abs(aside) or (abs(along) == abs(aside) and dv != 0):
                break
            return max(best, 0.0), np.int64(i + offset), np.int64(j + offset)
        if faces[g, (entered + 1) % 3] == i:  # wound the other way; else it faces as f does
            facing = -facing
        f = g
    return 2.0, np.int64(-1), np.int64(-1)


@inner
def _joined(a0, a1, a2, b0, b1, b2):
    """Do two faces have a vertex in common?"""
    return (
        ((a0 == b0) | (a0 == b1) | (a0 == b2))
        | ((a1 == b0) | (a1 == b1) | (a1 == b2))
        | ((a2 == b0) | (a2 == b1) | (a2 == b2))
    )


@inner
def _smooth(z0, z1, z2, z3):
    """Does the depth change between the inner two of four pixels as it does on either side?"""
    left, here, right = z1 - z0, z2 - z1, z3 - z2
    slack = abs(left) + abs(right) + np.float32(1e-4) * z1
    like = (here >= min(left, right) - slack) & (here <= max(left, right) + slack)
    return like & (z0 > 0) & (z3 > 0)


@inner
def _pair(
    screen, faces, adjacent, offset, face, depth, first, axis, x, y, width,
    pixels, rows, weight, code, size,
):  # fmt: skip
    """Note what to blend between pixel ``first`` at x, y and the next along an axis, if any."""
    apart()
    step = 1 if axis == 0 else width
    second = first + step
    f, g = face[first], face[second]
    forward = g < 0 or (f >= 0 and depth[first] <= depth[second])
    u, v = x + 0.5, y + 0.5
    du, dv = (1.0, 0.0) if axis == 0 else (0.0, 1.0)
    if not forward:
        f, u, v, du, dv = g, u + du, v + dv, -du, -dv
    t, i, j = _walk(screen, faces, adjacent, offset, f, u, v, du, dv)
    if t >= 1.0:
        return size
    near, far = (first, second) if forward else (second, first)
    # The surface of the near pixel ends at t; half way is the border of the pixels.
    if t < 0.5:
        pixels[size, 0], pixels[size, 1] = near, far
        weight[size] = 0.5 - t
    else:
        pixels[size, 0], pixels[size, 1] = far, near
        weight[size] = t - 0.5
    rows[size, 0], rows[size, 1] = i, j
    code[size] = axis + (0 if forward else 2) + (4 if t < 0.5 else 0)
    return size + 1


@kernel
def find(
    team, screen, faces, adjacent, vertex_start, shape, face, depth,
    counter, spans, pair_pixels, pair_rows, pair_weight, pair_code,
):  # fmt: skip
    """List the pairs of pixels to blend, per band of rows.

    A pair says: pixel ``pixels[0]`` takes ``weight`` of what ``pixels[1]`` has more (both counted
    from the start of the batch), because of the edge between vertex ``rows``. ``code`` has bit 0
    set for pixels one above the other (else side by side), bit 1 if the walk went left or up, bit 2
    if the weight falls with t.
    """
    images, height, width = shape
    bands = (height + ROWS - 1) // ROWS
    pixels = np.empty((2 * ROWS * width, 2), np.int64)
    rows = np.empty((2 * ROWS * width, 2), np.int32)
    weight = np.empty(2 * ROWS * width, np.float32)
    code = np.empty(2 * ROWS * width, np.int8)
    unit = take(team, 0, images * bands)
    while unit >= 0:
        image, band = unit // bands, unit % bands
        offset = vertex_start[image]
        size = 0
        for y in range(band * ROWS, min((band + 1) * ROWS, height)):
            start = (image * height + y) * width
            below = width if y + 1 < height else 0
            x = 0
            while x < width:
                count = min(16, width - x)
                if x + 17 <= width:
                    across = changes16(face, start + x, start + x + 1)
                    down = changes16(face, start + x, start + x + below)
                    # No silhouette where depth runs straight on. Most pixels leave here.
                    if across != 0 and x > 0 and x + 18 <= width:
                        across &= bends16(depth, start + x, 1)
                    if down != 0 and y > 0 and y + 2 < height:
                        down &= bends16(depth, start + x, width)
                else:
                    across, down = 0, 0
                    for k in range(count):
                        f = face[start + x + k]
                        if x + k + 1 < width and f != face[start + x + k + 1]:
                            across |= 1 << k
                        if f != face[start + x + k + below]:
                            down |= 1 << k
                for axis in range(2):
                    bits = across if axis == 0 else down
                    while bits != 0:
                        k = lowest_bit(bits)
                        bits &= bits - 1
                        first = start + x + k
                        step = 1 if axis == 0 else width
                        f, g = face[first], face[first + step]
                        place = x + k if axis == 0 else y
                        inner = place > 0 and place + 2 < (width if axis == 0 else height)
                        # Nor between neighbours on the mesh without a jump in depth.
                        if (
                            f >= 0
                            and g >= 0
                            and inner
                            and _smooth(
                                depth[first - step],
                                depth[first],
                                depth[first + step],
                                depth[first + 2 * step],
                            )
                            and _joined(
                                faces[f, 0], faces[f, 1], faces[f, 2],
                                faces[g, 0], faces[g, 1], faces[g, 2],
                            )
                        ):  # fmt: skip
                            continue
                        size = _pair(
                            screen, faces, adjacent, offset, face, depth, first, axis, x + k, y,
                            width, pixels, rows, weight, code, size,
                        )  # fmt: skip
                x += count
        start = reserve(counter, size)
        spans[unit, 0] = start
        spans[unit, 1] = start + size
        if start + size <= pair_weight.shape[0]:
            for i in range(size):
                pair_pixels[start + i, 0] = pixels[i, 0]
                pair_pixels[start + i, 1] = pixels[i, 1]
                pair_rows[start + i, 0] = rows[i, 0]
                pair_rows[start + i, 1] = rows[i, 1]
                pair_weight[start + i] = weight[i]
                pair_code[start + i] = code[i]
        unit = finish_and_take(team, 0, images * bands)
    wait(team, 0, images * bands)


@inner
def _copy(source, out, start, stop):
    for i in range(np.uint64(start), np.uint64(stop)):
        out[i] = source[i]


@kernel
def blend(
    team, images, spans, pair_pixels, pair_weight, channels, in_place, color, out, differences
):  # fmt: skip
    """``out`` is ``color`` with the pairs blended; both are flat, and the same if ``in_place``.

    ``differences`` (pairs x channels, flat) becomes what the second pixel of a pair has more.
    """
    chunks = 0 if in_place else (color.size + BLOCK - 1) // BLOCK
    unit = take(team, 0, chunks)
    while unit >= 0:
        _copy(color, out, unit * BLOCK, min((unit + 1) * BLOCK, color.size))
        unit = finish_and_take(team, 0, chunks)
    wait(team, 0, chunks)

    bands = spans.shape[0] // images
    unit = take(team, 1, images)
    while unit >= 0:
        for band in range(unit * bands, (unit + 1) * bands):
            for i in range(spans[band, 0], spans[band, 1]):
                to, source = pair_pixels[i, 0] * channels, pair_pixels[i, 1] * channels
                for k in range(channels):
                    differences[i * channels + k] = color[source + k] - color[to + k]
        for band in range(unit * bands, (unit + 1) * bands):
            for i in range(spans[band, 0], spans[band, 1]):
                to = pair_pixels[i, 0] * channels
                for k in range(channels):
                    out[to + k] += pair_weight[i] * differences[i * channels + k]
        unit = finish_and_take(team, 1, images)
    wait(team, 1, images)


@kernel
def backward(
    team, screen, images, groups, height, width, spans, pair_pixels, pair_rows, pair_weight,
    pair_code, channels, differences, grad, grad_color, grad_screen, want_color, want_screen,
):  # fmt: skip
    """Gradients of the colours, and of the vertices of silhouette edges.

    ``groups`` is the number of images when each has vertices of its own, else 1.
    """
    bands = spans.shape[0] // images
    if want_color:
        chunks = (grad.size + BLOCK - 1) // BLOCK
        unit = take(team, 0, chunks)
        while unit >= 0:
            _copy(grad, grad_color, unit * BLOCK, min((unit + 1) * BLOCK, grad.size))
            unit = finish_and_take(team, 0, chunks)
        wait(team, 0, chunks)
        unit = take(team, 1, images)
        while unit >= 0:
            for band in range(unit * bands, (unit + 1) * bands):
                for i in range(spans[band, 0], spans[band, 1]):
                    to, source, weight = pair_pixels[i, 0], pair_pixels[i, 1], pair_weight[i]
                    to, source = to * channels, source * channels
                    for k in range(channels):
                        grad_color[source + k] += weight * grad[to + k]
                        grad_color[to + k] -= weight * grad[to + k]
            unit = finish_and_take(team, 1, images)
        wait(team, 1, images)
    if want_screen:
        rows = screen.shape[0] // groups
        bands = spans.shape[0] // groups
        unit = take(team, 2, groups)
        while unit >= 0:
            grad_screen[unit * rows : (unit + 1) * rows] = 0
            for band in range(unit * bands, (unit + 1) * bands):
                for n in range(spans[band, 0], spans[band, 1]):
                    to, source, code = pair_pixels[n, 0], pair_pixels[n, 1], pair_code[n]
                    change = 0.0
                    for k in range(channels):
                        change += grad[to * channels + k] * differences[n * channels + k]
                    if change == 0:
                        continue
                    i, j = pair_rows[n, 0], pair_rows[n, 1]
                    x0, y0, z0 = (
                        np.float64(screen[i, 0]),
                        np.float64(screen[i, 1]),
                        np.float64(screen[i, 2]),
                    )
                    x1, y1, z1 = (
                        np.float64(screen[j, 0]),
                        np.float64(screen[j, 1]),
                        np.float64(screen[j, 2]),
                    )
                    a, b = y0 * z1 - z0 * y1, z0 * x1 - x0 * z1
                    c = x0 * y1 - y0 * x1
                    # The edge crosses a row at u = -(b v + c) / a, a column at v = -(a u + c) / b;
                    # d crossing / d(a, b, c) = -(u, v, 1) / a there (or / b).
                    first = min(to, source)
                    u, v = first % width + 0.5, (first // width) % height + 0.5
                    if code & 1:
                        across = b
                        v = -(a * u + c) / b
                    else:
                        across = a
                        u = -(b * v + c) / a
                    toward = -1.0 if code & 2 else 1.0  # d t / d crossing
                    falls = -1.0 if code & 4 else 1.0  # d weight / d t
                    scale = -change * toward * falls / across
                    ga, gb, gc = scale * u, scale * v, scale
                    # of (a, b, c) = p_i x p_j: p_j x g for p_i, g x p_i for p_j
                    grad_screen[i, 0] += y1 * gc - z1 * gb
                    grad_screen[i, 1] += z1 * ga - x1 * gc
                    grad_screen[i, 2] += x1 * gb - y1 * ga
                    grad_screen[j, 0] += gb * z0 - gc * y0
                    grad_screen[j, 1] += gc * x0 - ga * z0
                    grad_screen[j, 2] += ga * y0 - gb * x0
            unit = finish_and_take(team, 2, groups)
        wait(team, 2, groups)
