"""Blend the attributes of a triangle's corners: the compiled kernels of ``interpolate``."""

import numpy as np
from numba import njit

from .lanes import add4, difference4, mix4
from .records_cpu import SLOTS, TILE, publish, slot_of
from .threads import finish_and_take, take, wait

ROWS = 16  # rows of an image that are computed together
CHANNELS = 8  # of a gradient that are summed together


@njit(nogil=True, cache=True)
def forward(team, attributes, faces, vertex_start, shape, channels, face, bary, out):
    """All maps are flat: one number after the other, in the order of pixels and channels."""
    images, height, width = shape
    fours = channels // 4 * 4
    bands = (height + ROWS - 1) // ROWS
    unit = take(team, 0, images * bands)
    while unit >= 0:
        image, band = unit // bands, unit % bands
        offset = vertex_start[image]
        first = (image * height + band * ROWS) * width
        last = (image * height + min((band + 1) * ROWS, height)) * width
        pixel, known = first, -1
        i0, i1, i2 = 0, 0, 0
        while pixel < last:
            f = face[pixel]
            if f < 0:
                end = pixel + 1
                while end < last and face[end] < 0:
                    end += 1
                out[pixel * channels : end * channels] = 0
                pixel = end
                continue
            if f != known:
                known = f
                i0 = (faces[f, 0] + offset) * channels
                i1 = (faces[f, 1] + offset) * channels
                i2 = (faces[f, 2] + offset) * channels
            w0, w1 = bary[2 * pixel], bary[2 * pixel + 1]
            w2 = np.float32(1) - w0 - w1
            place = pixel * channels
            for k in range(0, fours, 4):
                mix4(out, place + k, attributes, i0 + k, i1 + k, i2 + k, w0, w1, w2)
            for k in range(fours, channels):
                out[place + k] = (
                    w0 * attributes[i0 + k] + w1 * attributes[i1 + k] + w2 * attributes[i2 + k]
                )
            pixel += 1
        unit = finish_and_take(team, 0, images * bands)
    wait(team, 0, images * bands)


@njit(nogil=True, cache=True)
def backward(
    team, attributes, faces, vertex_start, shape, stride, face, bary, grad, channel, channels,
    grad_bary, counter, spans, record_rows, record_values,
):  # fmt: skip
    """Gradient of the weights, and the records of channels ``channel`` to ``channel + channels``.

    All maps are flat, with ``stride`` channels. The first call (``channel`` 0) sets ``grad_bary``,
    later ones add.
    """
    images, height, width = shape
    tiles_x = (width + TILE - 1) // TILE
    tiles = tiles_x * ((height + TILE - 1) // TILE)
    fours = channels // 4 * 4
    keys = np.empty(SLOTS, np.int32)
    places = np.empty(SLOTS, np.int16)
    rows = np.empty((TILE * TILE, 3), np.int32)
    sums = np.empty(TILE * TILE * 3 * channels, np.float32)
    unit = take(team, 0, images * tiles)
    while unit >= 0:
        image, tile = unit // tiles, unit % tiles
        left, top = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
        offset = vertex_start[image]
        size, last, place = 0, -1, 0
        places[:] = -1
        i0, i1, i2 = 0, 0, 0
        for y in range(top, min(top + TILE, height)):
            start = (image * height + y) * width
            for pixel in range(start + left, start + min(left + TILE, width)):
                f = face[pixel]
                if f < 0:
                    if channel == 0:
                        grad_bary[2 * pixel] = 0
                        grad_bary[2 * pixel + 1] = 0
                    continue
                if f != last:
                    last = f
                    i0, i1, i2 = faces[f, 0] + offset, faces[f, 1] + offset, faces[f, 2] + offset
                    slot = slot_of(f, keys, places, size)
                    place = slot * 3 * channels
                    if slot == size:
                        rows[slot, 0], rows[slot, 1], rows[slot, 2] = i0, i1, i2
                        sums[place : place + 3 * channels] = 0
                        size += 1
                    i0, i1, i2 = i0 * stride + channel, i1 * stride + channel, i2 * stride + channel
                w0, w1 = bary[2 * pixel], bary[2 * pixel + 1]
                w2 = np.float32(1) - w0 - w1
                g0, g1 = np.float32(0), np.float32(0)
                source = pixel * stride + channel
                for k in range(0, fours, 4):
                    add4(sums, place + k, grad, source + k, w0)
                    add4(sums, place + channels + k, grad, source + k, w1)
                    add4(sums, place + 2 * channels + k, grad, source + k, w2)
                    g0 += difference4(grad, source + k, attributes, i0 + k, i2 + k)
                    g1 += difference4(grad, source + k, attributes, i1 + k, i2 + k)
                for k in range(fours, channels):
                    g = grad[source + k]
                    sums[place + k] += w0 * g
                    sums[place + channels + k] += w1 * g
                    sums[place + 2 * channels + k] += w2 * g
                    corner = attributes[i2 + k]
                    g0 += g * (attributes[i0 + k] - corner)
                    g1 += g * (attributes[i1 + k] - corner)
                if channel == 0:
                    grad_bary[2 * pixel] = g0
                    grad_bary[2 * pixel + 1] = g1
                else:
                    grad_bary[2 * pixel] += g0
                    grad_bary[2 * pixel + 1] += g1
        publish(
            rows,
            sums.reshape(-1, 3 * channels),
            size,
            counter,
            spans,
            unit,
            record_rows,
            record_values,
        )
        unit = finish_and_take(team, 0, images * tiles)
    wait(team, 0, images * tiles)
