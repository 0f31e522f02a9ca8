"""Packing pixels into strips and back: compiled kernels."""

import numpy as np
from numba import njit

from invgraph.kernels.threads import finish_and_take, take, wait

TILE = 32
UNIT = 4096  # packed pixels handed out together


@njit(nogil=True, cache=True)
def count(team, face, first, last, counts):
    """How many pixels of each tile show faces from ``first`` up to ``last``."""
    images, height, width = face.shape
    across = (width + TILE - 1) // TILE
    tiles = counts.shape[1]
    unit = take(team, 0, images * tiles)
    while unit >= 0:
        image, tile = unit // tiles, unit % tiles
        top, left = (tile // across) * TILE, (tile % across) * TILE
        total = 0
        for y in range(top, min(top + TILE, height)):
            for x in range(left, min(left + TILE, width)):
                f = face[image, y, x]
                total += (f >= first) & (f < last)
        counts[image, tile] = total
        unit = finish_and_take(team, 0, images * tiles)
    wait(team, 0, images * tiles)


@njit(nogil=True, cache=True)
def fill(team, face, first, last, starts, place, packed):
    """Where these pixels are in their image, tile by tile, and their faces from ``first`` on."""
    images, height, width = face.shape
    across = (width + TILE - 1) // TILE
    tiles = starts.shape[1] - 1
    unit = take(team, 0, images * (tiles + 1))
    while unit >= 0:
        image, tile = unit // (tiles + 1), unit % (tiles + 1)
        slot = starts[image, tile]
        if tile == tiles:
            for k in range(slot, place.shape[1]):
                place[image, k] = -1
                packed[image, k] = -1
        else:
            top, left = (tile // across) * TILE, (tile % across) * TILE
            for y in range(top, min(top + TILE, height)):
                for x in range(left, min(left + TILE, width)):
                    f = face[image, y, x]
                    if (f >= first) & (f < last):
                        place[image, slot] = y * width + x
                        packed[image, slot] = f - first
                        slot += 1
        unit = finish_and_take(team, 0, images * (tiles + 1))
    wait(team, 0, images * (tiles + 1))


@njit(nogil=True, cache=True)
def gather(team, values, offset, place, strip):
    """Channels from ``offset`` on of the pixels at ``place``; zero in the padding."""
    images, size, channels = strip.shape
    parts = (size + UNIT - 1) // UNIT
    unit = take(team, 0, images * parts)
    while unit >= 0:
        image, part = unit // parts, unit % parts
        for k in range(part * UNIT, min((part + 1) * UNIT, size)):
            p = place[image, k]
            for c in range(channels):
                strip[image, k, c] = values[image, p, offset + c] if p >= 0 else np.float32(0)
        unit = finish_and_take(team, 0, images * parts)
    wait(team, 0, images * parts)


@njit(nogil=True, cache=True)
def scatter(team, strip, place, offset, values):
    """Overwrite channels from ``offset`` on of the pixels at ``place``."""
    images, size, channels = strip.shape
    parts = (size + UNIT - 1) // UNIT
    unit = take(team, 0, images * parts)
    while unit >= 0:
        image, part = unit // parts, unit % parts
        for k in range(part * UNIT, min((part + 1) * UNIT, size)):
            p = place[image, k]
            if p >= 0:
                for c in range(channels):
                    values[image, p, offset + c] = strip[image, k, c]
        unit = finish_and_take(team, 0, images * parts)
    wait(team, 0, images * parts)


@njit(nogil=True, cache=True)
def assign(team, value, place, first, last, values):
    """Set channels from ``first`` up to ``last`` of the pixels at ``place``."""
    images, size = place.shape
    parts = (size + UNIT - 1) // UNIT
    unit = take(team, 0, images * parts)
    while unit >= 0:
        image, part = unit // parts, unit % parts
        for k in range(part * UNIT, min((part + 1) * UNIT, size)):
            p = place[image, k]
            if p >= 0:
                for c in range(first, last):
                    values[image, p, c] = value
        unit = finish_and_take(team, 0, images * parts)
    wait(team, 0, images * parts)


@njit(nogil=True, cache=True)
def footprint(team, uv, uv_faces, packed, place, slope, out):
    """How uv changes from pixel to pixel: u by x, u by y, v by x, v by y; zero in the padding."""
    images, size = packed.shape
    parts = (size + UNIT - 1) // UNIT
    unit = take(team, 0, images * parts)
    while unit >= 0:
        image, part = unit // parts, unit % parts
        for k in range(part * UNIT, min((part + 1) * UNIT, size)):
            f = packed[image, k]
            if f < 0:
                for c in range(4):
                    out[image, k, c] = 0
                continue
            p, i, j, m = place[image, k], uv_faces[f, 0], uv_faces[f, 1], uv_faces[f, 2]
            for c in range(2):
                a, b = uv[i, c] - uv[m, c], uv[j, c] - uv[m, c]
                for axis in range(2):
                    out[image, k, 2 * c + axis] = (
                        a * slope[image, p, axis] + b * slope[image, p, 2 + axis]
                    )
        unit = finish_and_take(team, 0, images * parts)
    wait(team, 0, images * parts)


@njit(nogil=True, cache=True)
def facing(team, screen, faces, packed, out):
    """Whether each packed pixel sees the outside of its face; true in the padding."""
    images, size = packed.shape
    parts = (size + UNIT - 1) // UNIT
    unit = take(team, 0, images * parts)
    while unit >= 0:
        image, part = unit // parts, unit % parts
        last, turned = -1, True
        for k in range(part * UNIT, min((part + 1) * UNIT, size)):
            f = packed[image, k]
            if f != last:
                last, turned = f, True
                if f >= 0:
                    i, j, m = faces[f, 0], faces[f, 1], faces[f, 2]
                    ax, ay, az = screen[image, i, 0], screen[image, i, 1], screen[image, i, 2]
                    bx, by, bz = screen[image, j, 0], screen[image, j, 1], screen[image, j, 2]
                    cx, cy, cz = screen[image, m, 0], screen[image, m, 1], screen[image, m, 2]
                    turned = (
                        ax * (by * cz - bz * cy)
                        + ay * (bz * cx - bx * cz)
                        + az * (bx * cy - by * cx)
                    ) < 0
            out[image, k] = turned
        unit = finish_and_take(team, 0, images * parts)
    wait(team, 0, images * parts)
