"""Sums over the pixels of each triangle, and over the triangles of each vertex, in a fixed order.

A backward pass first sums within tiles: one *record* for every triangle that a tile shows, holding
what the three corners get. Then every vertex adds up its records in the order of the tiles. Threads
own tiles first and ranges of vertices afterwards: no atomic floats, no private copies of a
gradient, and the same bits for any number of threads.
"""

import numpy as np

from .lanes import apart, changes64, lowest_bit, without_lowest
from .threads import finish_and_take, inner, reserve, take, wait

WIDE, HIGH = 64, 16  # of a tile, px
SLOTS = 2 * WIDE * HIGH  # of the hash from faces to the records of a tile
_GOLDEN = 2654435769  # multiplier of Fibonacci hashing


@inner
def ends_of_runs(face, start, count):
    """Bit k is set where pixel ``start + k`` is the last of ``count`` (at most ``WIDE``), or the
    next one sees another face.
    """
    if count == WIDE:
        return changes64(face, start)
    bits = 1 << (count - 1)
    for k in range(count - 1):
        if face[start + k] != face[start + k + 1]:
            bits |= 1 << k
    return bits


@inner
def copy(source, start, stop, out):
    """Begin ``out`` with a part of ``source``."""
    apart()
    for i in range(stop - start):
        out[i] = source[start + i]


@inner
def find_runs(face, start, count, faces, offset, table, rows, size, runs):
    """List the runs of a row of a tile: first pixel, the one after the last, and the record of the
    face that they see, all flat.

    ``size`` is the number of records so far, ``rows`` their vertices, and ``table`` the hash from
    faces to records. Gives the number of runs and that of records.
    """
    apart()
    bits, begin, number = ends_of_runs(face, start, count), 0, 0
    while bits != 0:
        end = lowest_bit(bits) + 1
        bits = without_lowest(bits)
        f = np.int64(face[np.uint64(start + begin)])
        if f >= 0:
            slot = slot_of(f, table[0], table[1], size)
            if slot == size:
                for corner in range(3):
                    rows[3 * slot + corner] = faces[f, corner] + offset
                size += 1
            place = np.uint64(3 * number)
            runs[place], runs[place + np.uint64(1)] = begin, end
            runs[place + np.uint64(2)] = slot
            number += 1
        begin = end
    return number, size


@inner
def slot_of(face, keys, places, size):
    """The record of ``face`` in this tile; ``size`` if it is a new one, which is noted."""
    slot = np.uint64(((np.int64(face) * _GOLDEN) >> 12) & (SLOTS - 1))
    while places[slot] >= 0:
        if keys[slot] == face:
            return np.int64(places[slot])
        slot = (slot + np.uint64(1)) & np.uint64(SLOTS - 1)
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
                record_rows[start + i, k] = rows[3 * i + k]
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
