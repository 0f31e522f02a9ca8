"""Blend the attributes of a triangle's corners: the compiled kernels of ``interpolate``.

Both work on *runs*: neighbouring pixels of a row that see the same triangle. Channels are taken in
fours, which ``mix_lanes`` does for four pixels at once, and what is left of them one by one.
"""

import numpy as np

from .lanes import apart, fetch, lowest_bit, without_lowest
from .mix_lanes import STEP, mix_run, unmix_run
from .records_cpu import HIGH, SLOTS, WIDE, collect, copy, ends_of_runs, find_runs, publish
from .threads import finish_and_take, inner, kernel, take, wait

ROWS = 16  # rows of an image that are computed together
CHANNELS = 8  # of a gradient that are summed together
_THREE = np.uint64(3)  # signed places would be tested for their sign


@inner
def _mix_rest(attributes, faces, offset, channels, face, bary, start, end, first, out):
    """Channels from ``first`` on of pixels, one by one."""
    apart()
    for p in range(start, end):
        f = face[p]
        if f < 0:
            continue
        i0 = (faces[f, 0] + offset) * channels
        i1 = (faces[f, 1] + offset) * channels
        i2 = (faces[f, 2] + offset) * channels
        w0, w1 = bary[2 * p], bary[2 * p + 1]
        for k in range(first, channels):
            third = attributes[i2 + k]
            value = w0 * (attributes[i0 + k] - third) + third
            out[p * channels + k] = w1 * (attributes[i1 + k] - third) + value


@inner
def _mix(attributes, faces, offset, channels, face, bary, start, count, out):
    """As many fours of channels as there are, of a few pixels and up to ``STEP - 1`` more."""
    apart()
    fours = channels // 4 * 4
    bits, pixel = ends_of_runs(face, start, count), start
    while bits != 0:
        end = start + lowest_bit(bits) + 1
        bits = without_lowest(bits)
        f = np.int64(face[np.uint64(pixel)])
        if f < 0:
            for i in range(np.uint64(pixel * channels), np.uint64(end * channels)):
                out[i] = 0
        else:
            i0 = (np.int64(faces[f, 0]) + offset) * channels
            i1 = (np.int64(faces[f, 1]) + offset) * channels
            i2 = (np.int64(faces[f, 2]) + offset) * channels
            for k in range(0, fours, 4):
                mix_run(
                    out, pixel * channels + k, attributes, (i0 + k, i1 + k, i2 + k), bary, pixel,
                    end - pixel, channels,
                )  # fmt: skip
        pixel = end


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
        start = (image * height + band * ROWS) * width
        last = (image * height + min((band + 1) * ROWS, height)) * width
        while start < last:
            count = min(WIDE, last - start)
            if start + count + STEP > last:  # what vectors write too much, is another unit's
                for i in range(np.uint64(start * channels), np.uint64(last * channels)):
                    out[i] = 0
                _mix_rest(attributes, faces, offset, channels, face, bary, start, last, 0, out)
                break
            _mix(attributes, faces, offset, channels, face, bary, start, count, out)
            if fours < channels:
                end = start + count
                _mix_rest(attributes, faces, offset, channels, face, bary, start, end, fours, out)
            start += count
        unit = finish_and_take(team, 0, images * bands)
    wait(team, 0, images * bands)


@inner
def _unmix(attributes, rows, stride, channel, k, step, runs, number, grad, bary, start, sums, out):
    """Add what four channels of a row of a tile give to the records' ``sums``; set the weights'."""
    apart()
    for run in range(np.uint64(number)):
        begin, end = runs[_THREE * run], runs[_THREE * run + np.uint64(1)]
        slot = runs[_THREE * run + np.uint64(2)]
        row, first = np.uint64(3 * slot), channel + k
        corners = (
            rows[row] * stride + first,
            rows[row + np.uint64(1)] * stride + first,
            rows[row + np.uint64(2)] * stride + first,
        )
        pixel = start + begin
        unmix_run(
            sums, 3 * slot * step + k, step, attributes, corners, grad, pixel * stride + first,
            stride, bary, pixel, end - begin, out, 2 * begin,
        )  # fmt: skip


@inner
def _unmix_rest(
    attributes, rows, stride, channel, fours, channels, runs, number, grad, bary, start, sums, out
):  # fmt: skip
    """Add what the channels from ``fours`` on give."""
    apart()
    for run in range(number):
        begin, end, slot = runs[3 * run], runs[3 * run + 1], runs[3 * run + 2]
        i0 = rows[3 * slot] * stride + channel
        i1, i2 = rows[3 * slot + 1] * stride + channel, rows[3 * slot + 2] * stride + channel
        place = 3 * slot * channels
        for x in range(begin, end):
            p = start + x
            w0, w1 = bary[2 * p], bary[2 * p + 1]
            w2 = np.float32(1) - w0 - w1
            for k in range(fours, channels):
                g = grad[p * stride + channel + k]
                sums[place + k] += w0 * g
                sums[place + channels + k] += w1 * g
                sums[place + 2 * channels + k] += w2 * g
                corner = attributes[i2 + k]
                out[2 * x] += g * (attributes[i0 + k] - corner)
                out[2 * x + 1] += g * (attributes[i1 + k] - corner)


@inner
def _put(values, out, start, count, add):
    """Set the weights of a row's pixels, or add to them."""
    apart()
    place = np.uint64(2 * start)
    if add:
        for i in range(np.uint64(2 * count)):
            out[place + i] += values[i]
    else:
        for i in range(np.uint64(2 * count)):
            out[place + i] = values[i]


@kernel
def backward(
    team, attributes, faces, vertex_start, shape, stride, face, bary, grad, channel, channels,
    grad_bary, want_values, counter, spans, record_rows, record_values, groups, owners, gradient,
):  # fmt: skip
    """Gradients of the weights and of channels ``channel`` to ``channel + channels``.

    All maps are flat, with ``stride`` channels. The first call (``channel`` 0) sets ``grad_bary``,
    later ones add. Without ``want_values``, nothing after it is touched.
    """
    images, height, width = shape
    tiles_x = (width + WIDE - 1) // WIDE
    tiles = tiles_x * ((height + HIGH - 1) // HIGH)
    table = np.empty(SLOTS, np.int32), np.empty(SLOTS, np.int16)
    rows = np.empty(3 * WIDE * HIGH, np.int32)
    sums = np.empty(WIDE * HIGH * 3 * channels, np.float32)
    runs = np.empty(3 * WIDE, np.int64)
    fours = channels // 4 * 4
    out = np.empty(2 * (WIDE + STEP), np.float32)  # what the weights of a row get
    # Copies of the last rows, with room behind: vectors read beyond a run.
    spare_bary = np.empty(2 * (WIDE + STEP), np.float32)
    spare_grad = np.empty((WIDE + STEP) * stride, np.float32)
    unit = take(team, 0, images * tiles)
    while unit >= 0:
        image, tile = unit // tiles, unit % tiles
        left, top = (tile % tiles_x) * WIDE, (tile // tiles_x) * HIGH
        count = min(WIDE, width - left)
        offset = vertex_start[image]
        size = np.int64(0)
        for i in range(SLOTS):
            table[1][i] = -1
        for y in range(top, min(top + HIGH, height)):
            start = (image * height + y) * width + left
            if y + 1 < height:
                after = start + width
                fetch(face, after, after + count)
                fetch(bary, 2 * after, 2 * (after + count))
                fetch(grad, after * stride, (after + count) * stride)
            number, end = find_runs(face, start, count, faces, offset, table, rows, size, runs)
            for i in range(np.uint64(3 * channels * size), np.uint64(3 * channels * end)):
                sums[i] = 0
            size = end
            source, weights, pixel = grad, bary, start
            if start + count + STEP > face.size:
                copy(bary, 2 * start, 2 * (start + count), spare_bary)
                copy(grad, start * stride, (start + count) * stride, spare_grad)
                source, weights, pixel = spare_grad, spare_bary, 0
            for k in range(0, channels, 4):
                for i in range(out.size):
                    out[i] = 0
                if k < fours:
                    _unmix(
                        attributes, rows, stride, channel, k, channels, runs, number, source,
                        weights, pixel, sums, out,
                    )  # fmt: skip
                else:
                    _unmix_rest(
                        attributes, rows, stride, channel, fours, channels, runs, number, source,
                        weights, pixel, sums, out,
                    )  # fmt: skip
                _put(out, grad_bary, start, count, channel + k > 0)
        if want_values:
            publish(
                rows, sums, 3 * channels, size, counter, spans, unit, record_rows, record_values
            )
        unit = finish_and_take(team, 0, images * tiles)
    wait(team, 0, images * tiles)
    if want_values:
        collect(
            team, 1, counter, spans, record_rows, record_values, groups, owners, gradient, channel,
            channels,
        )  # fmt: skip
