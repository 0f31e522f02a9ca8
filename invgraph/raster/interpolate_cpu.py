"""Blend the attributes of a triangle's corners: the compiled kernels of ``interpolate``."""

import numpy as np
from numba import njit

from .records_cpu import SLOTS, TILE, publish, slot_of
from .threads import finish_and_take, take, wait

ROWS = 16  # rows of an image that are computed together
CHANNELS = 8  # of a gradient that are summed together


@njit(nogil=True, cache=True)
def forward(team, attributes, faces, vertex_start, face, bary, out):
    images, height, width = face.shape
    channels = out.shape[3]
    bands = (height + ROWS - 1) // ROWS
    unit = take(team, 0, images * bands)
    while unit >= 0:
        image, band = unit // bands, unit % bands
        offset = vertex_start[image]
        for y in range(band * ROWS, min((band + 1) * ROWS, height)):
            for x in range(width):
                f = face[image, y, x]
                if f < 0:
                    for k in range(channels):
                        out[image, y, x, k] = 0
                    continue
                i0, i1, i2 = faces[f, 0] + offset, faces[f, 1] + offset, faces[f, 2] + offset
                w0, w1 = bary[image, y, x, 0], bary[image, y, x, 1]
                w2 = np.float32(1) - w0 - w1
                for k in range(channels):
                    out[image, y, x, k] = (
                        w0 * attributes[i0, k] + w1 * attributes[i1, k] + w2 * attributes[i2, k]
                    )
        unit = finish_and_take(team, 0, images * bands)
    wait(team, 0, images * bands)


@njit(nogil=True, cache=True)
def backward(
    team, attributes, faces, vertex_start, face, bary, grad, channel, channels,
    grad_bary, counter, spans, record_rows, record_values,
):  # fmt: skip
    """Gradient of the weights, and the records of channels ``channel`` to ``channel + channels``.

    The first call (``channel`` 0) sets ``grad_bary``, later ones add.
    """
    images, height, width = face.shape
    tiles_x = (width + TILE - 1) // TILE
    tiles = tiles_x * ((height + TILE - 1) // TILE)
    keys = np.empty(SLOTS, np.int32)
    places = np.empty(SLOTS, np.int16)
    rows = np.empty((TILE * TILE, 3), np.int32)
    sums = np.empty((TILE * TILE, 3 * CHANNELS), np.float32)
    unit = take(team, 0, images * tiles)
    while unit >= 0:
        image, tile = unit // tiles, unit % tiles
        left, top = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
        offset = vertex_start[image]
        size, last, slot = 0, -1, 0
        places[:] = -1
        i0, i1, i2 = 0, 0, 0
        for y in range(top, min(top + TILE, height)):
            for x in range(left, min(left + TILE, width)):
                f = face[image, y, x]
                if f < 0:
                    if channel == 0:
                        grad_bary[image, y, x, 0] = 0
                        grad_bary[image, y, x, 1] = 0
                    continue
                if f != last:
                    last = f
                    i0, i1, i2 = faces[f, 0] + offset, faces[f, 1] + offset, faces[f, 2] + offset
                    slot = slot_of(f, keys, places, size)
                    if slot == size:
                        rows[slot, 0], rows[slot, 1], rows[slot, 2] = i0, i1, i2
                        for k in range(3 * channels):
                            sums[slot, k] = 0
                        size += 1
                w0, w1 = bary[image, y, x, 0], bary[image, y, x, 1]
                w2 = np.float32(1) - w0 - w1
                g0, g1 = np.float32(0), np.float32(0)
                for k in range(channels):
                    g = grad[image, y, x, channel + k]
                    sums[slot, k] += w0 * g
                    sums[slot, channels + k] += w1 * g
                    sums[slot, 2 * channels + k] += w2 * g
                    corner = attributes[i2, channel + k]
                    g0 += g * (attributes[i0, channel + k] - corner)
                    g1 += g * (attributes[i1, channel + k] - corner)
                if channel == 0:
                    grad_bary[image, y, x, 0] = g0
                    grad_bary[image, y, x, 1] = g1
                else:
                    grad_bary[image, y, x, 0] += g0
                    grad_bary[image, y, x, 1] += g1
        publish(rows, sums, size, counter, spans, unit, record_rows, record_values)
        unit = finish_and_take(team, 0, images * tiles)
    wait(team, 0, images * tiles)
