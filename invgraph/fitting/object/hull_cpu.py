"""Carving of a visual hull on a grid, compiled."""

from numba import njit

from invgraph.kernels.threads import finish_and_take, take, wait

SURE_PX = 2.0  # a photo vetoes a point this far outside its mask
MANY_PHOTOS = 8  # from here on one photo may err


@njit(nogil=True, cache=True)
def carve(team, low, step, projection, focal, distance, field, vetoes):
    """Signed distance of every grid point to the hull.

    Args:
        low: corner of the grid, world.
        step: between grid points, world units.
        projection: ``n 3 4``, world to pixels.
        focal: ``n``, px.
        distance: ``n h w``, to the masks' outlines, px, positive inside, NaN where unknown.
        field: ``z y x``, receives the distances, world units, cut at four steps.
        vetoes: ``z n``, counts points that one photo alone excludes.
    """
    slices = field.shape[0]
    iz = take(team, 0, slices)
    while iz >= 0:
        _carve_slice(iz, low, step, projection, focal, distance, field, vetoes)
        iz = finish_and_take(team, 0, slices)
    wait(team, 0, slices)


@njit(nogil=True, cache=True, fastmath={"contract", "nsz", "arcp"})
def _carve_slice(iz, low, step, projection, focal, distance, field, vetoes):
    count, height, width = distance.shape
    margin = 4 * step
    z = low[2] + iz * step
    for iy in range(field.shape[1]):
        y = low[1] + iy * step
        for ix in range(field.shape[2]):
            x = low[0] + ix * step
            least, second = margin, margin
            seen, against, who = 0, 0, 0
            for i in range(count):
                p = projection[i]
                depth = p[2, 0] * x + p[2, 1] * y + p[2, 2] * z + p[2, 3]
                if depth <= 0.0:
                    continue
                u = (p[0, 0] * x + p[0, 1] * y + p[0, 2] * z + p[0, 3]) / depth - 0.5
                v = (p[1, 0] * x + p[1, 1] * y + p[1, 2] * z + p[1, 3]) / depth - 0.5
                if not (u >= 0.0 and v >= 0.0 and u < width - 1 and v < height - 1):
                    continue
                iu, iv = int(u), int(v)
                a, b = u - iu, v - iv
                top = distance[i, iv, iu] * (1 - a) + distance[i, iv, iu + 1] * a
                bottom = distance[i, iv + 1, iu] * (1 - a) + distance[i, iv + 1, iu + 1] * a
                d = top * (1 - b) + bottom * b
                if d != d:
                    continue
                seen += 1
                if d < -SURE_PX:
                    against += 1
                    who = i
                d *= depth / focal[i]
                if d < least:
                    least, second = d, least
                elif d < second:
                    second = d
                if second < -margin or (least < -margin and count < MANY_PHOTOS):
                    break
            if seen * 2 < count:
                field[iz, iy, ix] = -margin
            else:
                field[iz, iy, ix] = max(second if count >= MANY_PHOTOS else least, -margin)
                if against == 1:
                    vetoes[iz, who] += 1
