"""Depth peeling: compiled kernel that keeps the nearest layers of every pixel, sorted.

Coverage, depth and weights follow from the edge planes in homogeneous pixels as in
``rasterize_cpu``, in float64 throughout.
"""

from typing import Any

import numpy as np
from numba import njit

from invgraph.kernels.threads import finish_and_take, take, wait
from invgraph.raster.cpu.polygons import HIGH, WIDE, tile_of

PIXELS = WIDE * HIGH
_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_jit = njit(**_OPTIONS)
_INNER_OPTIONS: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True}
_inner = njit(**_INNER_OPTIONS)


@_inner
def _owns(a, b):
    """Does a pixel exactly on the edge with this plane belong to the triangle (top-left rule)?"""
    return a > 0 or (a == 0 and b > 0)


@_inner
def _planes(screen, i0, i1, i2, planes):
    """Edge planes divided by the determinant; returns the determinant."""
    px0, py0, pz0 = np.float64(screen[i0, 0]), np.float64(screen[i0, 1]), np.float64(screen[i0, 2])
    px1, py1, pz1 = np.float64(screen[i1, 0]), np.float64(screen[i1, 1]), np.float64(screen[i1, 2])
    px2, py2, pz2 = np.float64(screen[i2, 0]), np.float64(screen[i2, 1]), np.float64(screen[i2, 2])
    planes[0, 0] = py1 * pz2 - pz1 * py2
    planes[0, 1] = pz1 * px2 - px1 * pz2
    planes[0, 2] = px1 * py2 - py1 * px2
    planes[1, 0] = py2 * pz0 - pz2 * py0
    planes[1, 1] = pz2 * px0 - px2 * pz0
    planes[1, 2] = px2 * py0 - py2 * px0
    planes[2, 0] = py0 * pz1 - pz0 * py1
    planes[2, 1] = pz0 * px1 - px0 * pz1
    planes[2, 2] = px0 * py1 - py0 * px1
    return px0 * planes[0, 0] + py0 * planes[0, 1] + pz0 * planes[0, 2]


@_inner
def _insert(face, inverse, c0, c1, pixel, layers, faces, values):
    """Sort one more surface into a pixel's layers; equal depths stay in the order of the faces."""
    k = layers - 1
    if inverse <= values[k, 0, pixel]:
        return
    while k > 0 and inverse > values[k - 1, 0, pixel]:
        faces[k, pixel] = faces[k - 1, pixel]
        for m in range(3):
            values[k, m, pixel] = values[k - 1, m, pixel]
        k -= 1
    faces[k, pixel] = face
    values[k, 0, pixel], values[k, 1, pixel], values[k, 2, pixel] = inverse, c0, c1


@_inner
def _draw(planes, det, near, points, n, face, left, top, wide, high, layers, faces, values):
    u0, v0, u1, v1 = points[0, 0], points[0, 1], points[0, 0], points[0, 1]
    for k in range(1, n):
        u0, v0 = min(u0, points[k, 0]), min(v0, points[k, 1])
        u1, v1 = max(u1, points[k, 0]), max(v1, points[k, 1])
    x0 = max(np.int64(np.floor(u0)) - 1 - left, 0)
    x1 = min(np.int64(np.ceil(u1)) + 1 - left, wide - 1)
    y0 = max(np.int64(np.floor(v0)) - 1 - top, 0)
    y1 = min(np.int64(np.ceil(v1)) + 1 - top, high - 1)
    sign = 1.0 if det > 0 else -1.0
    own0 = _owns(sign * planes[0, 0], sign * planes[0, 1])
    own1 = _owns(sign * planes[1, 0], sign * planes[1, 1])
    own2 = _owns(sign * planes[2, 0], sign * planes[2, 1])
    for y in range(y0, y1 + 1):
        v = top + y + 0.5
        r0 = planes[0, 1] * v + planes[0, 2]
        r1 = planes[1, 1] * v + planes[1, 2]
        r2 = planes[2, 1] * v + planes[2, 2]
        for x in range(x0, x1 + 1):
            u = left + x + 0.5
            w0 = sign * (planes[0, 0] * u + r0)
            w1 = sign * (planes[1, 0] * u + r1)
            w2 = sign * (planes[2, 0] * u + r2)
            if not ((w0 > 0 or (w0 == 0 and own0)) and (w1 > 0 or (w1 == 0 and own1))):
                continue
            if not (w2 > 0 or (w2 == 0 and own2)):
                continue
            inverse = np.float32((w0 + w1 + w2) / abs(det))
            if inverse <= np.float32(1 / near):
                c0, c1 = np.float32(w0 / abs(det)), np.float32(w1 / abs(det))
                _insert(face, inverse, c0, c1, y * WIDE + x, layers, faces, values)


@_jit
def peel(
    team, screen, faces, vertex_start, ranges, chunk_start, near, cull, height, width, chunk,
    points, corners, starts, entries, out_face, out_bary, out_depth,
):  # fmt: skip
    """Fill the layers (image, layer, row, column) of every pixel, nearest first."""
    images, layers = out_face.shape[0], out_face.shape[1]
    tiles_x, tiles_y = (width + WIDE - 1) // WIDE, (height + HIGH - 1) // HIGH
    tiles = tiles_x * tiles_y
    kept = np.empty((layers, PIXELS), np.int32)
    values = np.empty((layers, 3, PIXELS), np.float32)
    planes = np.empty((3, 3), np.float64)
    unit = take(team, 0, images * tiles)
    while unit >= 0:
        image = unit // tiles
        left, top, wide, high = tile_of(unit, tiles, tiles_x, height, width)
        kept[:, :] = -1
        values[:, :, :] = 0
        for entry in range(starts[unit], starts[unit + 1]):
            item = entries[entry]
            first = ranges[image, 0] + (item // chunk - chunk_start[image]) * chunk
            face = first + item % chunk
            offset = vertex_start[image]
            i0, i1, i2 = faces[face, 0] + offset, faces[face, 1] + offset, faces[face, 2] + offset
            det = _planes(screen, i0, i1, i2, planes)
            if det == 0 or not np.isfinite(det) or (cull and not det < 0):
                continue
            _draw(
                planes, det, near, points[item], corners[item], face, left, top, wide, high,
                layers, kept, values,
            )  # fmt: skip
        for layer in range(layers):
            for y in range(high):
                for x in range(wide):
                    i = y * WIDE + x
                    inverse = values[layer, 0, i]
                    z = np.float32(1) / inverse if inverse > 0 else np.float32(0)
                    out_face[image, layer, top + y, left + x] = kept[layer, i]
                    out_depth[image, layer, top + y, left + x] = z
                    out_bary[image, layer, top + y, left + x, 0] = values[layer, 1, i] * z
                    out_bary[image, layer, top + y, left + x, 1] = values[layer, 2, i] * z
        unit = finish_and_take(team, 0, images * tiles)
    wait(team, 0, images * tiles)
