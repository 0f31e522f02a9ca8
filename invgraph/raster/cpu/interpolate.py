"""Blend the attributes of a triangle's corners: the compiled kernels of ``interpolate``."""

import numpy as np

from invgraph.kernels.lanes import mix4, unmix4
from invgraph.kernels.threads import finish_and_take, kernel, take, wait
from invgraph.raster.cpu.records import HIGH, SLOTS, WIDE, collect, publish, run_end, slot_of

ROWS = 16  # rows of an image that are computed together
CHANNELS = 8  # of a gradient that are summed together


@kernel
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
        pixel = first
        while pixel < last:
            f = np.int64(face[np.uint64(pixel)])
            if f < 0:
                end = run_end(face, pixel, last)
                for i in range(np.uint64(pixel * channels), np.uint64(end * channels)):
                    out[i] = 0
                pixel = end
                continue
            i0 = (faces[f, 0] + offset) * channels
            i1 = (faces[f, 1] + offset) * channels
            i2 = (faces[f, 2] + offset) * channels
            place = pixel * channels
            for k in range(0, fours, 4):
                mix4(out, place + k, attributes, (i0 + k, i1 + k, i2 + k), bary, pixel)
            if fours < channels:
                w0, w1 = bary[2 * pixel], bary[2 * pixel + 1]
                w2 = np.float32(1) - w0 - w1
                for k in range(fours, channels):
                    out[place + k] = (
                        w0 * attributes[i0 + k] + w1 * attributes[i1 + k] + w2 * attributes[i2 + k]
                    )
            pixel += 1
        unit = finish_and_take(team, 0, images * bands)
    wait(team, 0, images * bands)


@kernel
def backward_weights(
    team, attributes, faces, vertex_start, shape, channels, face, bary, grad, grad_bary
):
    """The gradient of the weights alone; all maps are flat."""
    images, height, width = shape
    fours = channels // 4 * 4
    unused = np.empty(12, np.float32)
    bands = (height + ROWS - 1) // ROWS
    unit = take(team, 0, images * bands)
    while unit >= 0:
        image, band = unit // bands, unit % bands
        offset = vertex_start[image]
        pixel = (image * height + band * ROWS) * width
        last = (image * height + min((band + 1) * ROWS, height)) * width
        for i in range(np.uint64(2 * pixel), np.uint64(2 * last)):
            grad_bary[i] = 0
        while pixel < last:
            f = face[pixel]
            end = run_end(face, pixel, last)
            if f < 0:
                pixel = end
                continue
            i0 = (faces[f, 0] + offset) * channels
            i1 = (faces[f, 1] + offset) * channels
            i2 = (faces[f, 2] + offset) * channels
            unused[:] = 0
            for k in range(0, fours, 4):
                corners = (i0 + k, i1 + k, i2 + k)
                unmix4(
                    unused, 0, 4, grad, pixel * channels + k, attributes, corners, bary, grad_bary,
                    pixel, end - pixel, channels,
                )  # fmt: skip
            for k in range(fours, channels):
                corner = attributes[i2 + k]
                slope0, slope1 = attributes[i0 + k] - corner, attributes[i1 + k] - corner
                for p in range(np.uint64(pixel), np.uint64(end)):
                    g = grad[p * np.uint64(channels) + np.uint64(k)]
                    grad_bary[np.uint64(2) * p] += g * slope0
                    grad_bary[np.uint64(2) * p + np.uint64(1)] += g * slope1
            pixel = end
        unit = finish_and_take(team, 0, images * bands)
    wait(team, 0, images * bands)


@kernel
def backward(
    team, attributes, faces, vertex_start, shape, stride, face, bary, grad, channel, channels,
    grad_bary, counter, spans, record_rows, record_values, groups, owners, gradient,
):  # fmt: skip
    """Gradients of the weights and of channels ``channel`` to ``channel + channels``.

    All maps are flat, with ``stride`` channels. The first call (``channel`` 0) sets ``grad_bary``,
    later ones add.
    """
    images, height, width = shape
    tiles_x = (width + WIDE - 1) // WIDE
    tiles = tiles_x * ((height + HIGH - 1) // HIGH)
    fours = channels // 4 * 4
    keys = np.empty(SLOTS, np.int32)
    places = np.empty(SLOTS, np.int16)
    rows = np.empty((WIDE * HIGH, 3), np.int32)
    sums = np.empty(WIDE * HIGH * 3 * channels, np.float32)
    unit = take(team, 0, images * tiles)
    while unit >= 0:
        image, tile = unit // tiles, unit % tiles
        left, top = (tile % tiles_x) * WIDE, (tile // tiles_x) * HIGH
        offset = vertex_start[image]
        size = np.int64(0)
        for i in range(SLOTS):
            places[i] = -1
        for y in range(top, min(top + HIGH, height)):
            start = (image * height + y) * width
            pixel, last = start + left, start + min(left + WIDE, width)
            if channel == 0:
                for i in range(np.uint64(2 * pixel), np.uint64(2 * last)):
                    grad_bary[i] = 0
            while pixel < last:
                f = np.int64(face[pixel])
                end = run_end(face, pixel, last)
                if f < 0:
                    pixel = end
                    continue
                i0, i1, i2 = faces[f, 0] + offset, faces[f, 1] + offset, faces[f, 2] + offset
                slot = slot_of(f, keys, places, size)
                place = slot * 3 * channels
                if slot == size:
                    rows[slot, 0], rows[slot, 1], rows[slot, 2] = i0, i1, i2
                    for i in range(np.uint64(place), np.uint64(place + 3 * channels)):
                        sums[i] = 0
                    size += 1
                i0, i1, i2 = i0 * stride + channel, i1 * stride + channel, i2 * stride + channel
                for k in range(0, fours, 4):
                    corners = (i0 + k, i1 + k, i2 + k)
                    unmix4(
                        sums, place + k, channels, grad, pixel * stride + channel + k, attributes,
                        corners, bary, grad_bary, pixel, end - pixel, stride,
                    )  # fmt: skip
                if fours < channels:
                    for p in range(pixel, end):
                        w0, w1 = bary[2 * p], bary[2 * p + 1]
                        w2 = np.float32(1) - w0 - w1
                        for k in range(fours, channels):
                            g = grad[p * stride + channel + k]
                            sums[place + k] += w0 * g
                            sums[place + channels + k] += w1 * g
                            sums[place + 2 * channels + k] += w2 * g
                            corner = attributes[i2 + k]
                            grad_bary[2 * p] += g * (attributes[i0 + k] - corner)
                            grad_bary[2 * p + 1] += g * (attributes[i1 + k] - corner)
                pixel = end
        publish(rows, sums, 3 * channels, size, counter, spans, unit, record_rows, record_values)
        unit = finish_and_take(team, 0, images * tiles)
    wait(team, 0, images * tiles)
    collect(
        team, 1, counter, spans, record_rows, record_values, groups, owners, gradient, channel,
        channels,
    )  # fmt: skip
