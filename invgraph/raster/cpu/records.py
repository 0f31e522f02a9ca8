"""Sums over the pixels of each triangle, and over the triangles of each vertex, in a fixed order.

A backward pass first sums within tiles: one *record* for every triangle that a tile shows, holding
what the three corners get. Then every vertex adds up its records in the order of the tiles. Threads
own tiles first and ranges of vertices afterwards: no atomic floats, no private copies of a
gradient, and the same bits for any number of threads.
"""

import numpy as np

from invgraph.kernels.threads import finish_and_take, inner, reserve, take, wait

WIDE, HIGH = 64, 16  # of a tile, px
SLOTS = 2 * WIDE * HIGH  # of the hash from faces to the records of a tile
_GOLDEN = 2654435769  # multiplier of Fibonacci hashing


@inner
def run_end(face, pixel, last):
    """The first pixel after ``pixel`` that sees another face than it does, at most ``last``."""
    f, end = face[np.uint64(pixel)], pixel + 1
    while end < last and face[np.uint64(end)] == f:
        end += 1
    return end


@inner
def slot_of(face, keys, places, size):
    """The record of ``face`` in this tile; ``size`` if it is a new one, which is noted."""
    slot = ((np.int64(face) * _GOLDEN) >> 12) & (SLOTS - 1)
    while places[slot] >= 0:
        if keys[slot] == face:
            return np.int64(places[slot])
        slot = (slot + 1) & (SLOTS - 1)
    keys[slot] = face
    places[slot] = size
    return size


@inner
def publish(rows, sums, stride, size, counter, spans, unit, record_rows, record_values):
    """Copy a tile's records to the shared buffer, if they fit, and note where they are.

    Record i begins at ``sums[stride * i]``.
    """
    start = reserve(counter, size)
    spans[unit, 0] = start
    spans[unit, 1] = start + size
    if start + size <= record_rows.shape[0]:
        for i in range(size):
            for k in range(3):
                record_rows[start + i, k] = rows[i, k]
            for k in range(record_values.shape[1]):
                record_values[start + i, k] = sums[stride * i + k]


@inner
def collect(
    team, phase, counter, spans, record_rows, record_values, groups, owners, gradient, channel,
    channels,
):  # fmt: skip
    """Add records to ``gradient[row, channel : channel + channels]``; nothing if some did not fit.

    The tiles and the rows are both split evenly into ``groups`` (1, or one per image): the tiles of
    a group touch the rows of that group alone.
    """
    if counter[0] > record_rows.shape[0]:
        return
    units = groups * owners
    tiles = spans.shape[0] // groups
    rows = gradient.shape[0] // groups
    unit = take(team, phase, units)
    while unit >= 0:
        group, owner = unit // owners, unit % owners
        low = group * rows + rows * owner // owners
        high = group * rows + rows * (owner + 1) // owners
        for row in range(low, high):
            for k in range(channels):
                gradient[row, channel + k] = 0
        for tile in range(group * tiles, (group + 1) * tiles):
            for i in range(spans[tile, 0], spans[tile, 1]):
                for corner in range(3):
                    row = record_rows[i, corner]
                    if row >= low and row < high:
                        for k in range(channels):
                            gradient[row, channel + k] += record_values[i, corner * channels + k]
        unit = finish_and_take(team, phase, units)
    wait(team, phase, units)
