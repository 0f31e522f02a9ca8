"""Where texture reads land: the texels around each pixel's coordinates, and their weights.

Pixels go through in blocks of ``LANES``, whose address arithmetic vectorises.

A mip pyramid is one run of texels, finest level first: ``levels[l]`` holds (first texel, height,
width).
"""

from typing import Any

import numba
import numpy as np

LANES = 256
REPEAT, CLAMP, MIRROR = 0, 1, 2

_FASTMATH = {"contract", "nsz", "arcp"}
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    "fastmath": _FASTMATH,
}
jit = numba.njit(**_OPTIONS)
_INNER_OPTIONS: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True}
inner = numba.njit(**_INNER_OPTIONS)
inline = numba.njit(inline="always", fastmath=_FASTMATH)

ZERO = np.float32(0.0)
_HALF = np.float32(0.5)
ONE = np.float32(1.0)
_TWO = np.float32(2.0)
LOG2_E = np.float32(1.4426950408889634)
_TINY = np.float32(1e-30)

# Rows of the scratch of a block; the reads of a pixel (finer level, coarser level) follow each
# other.
X0, _X1, Y0, Y1, LEVEL, INTS = 0, 1, 2, 3, 4, 5
_FIRST, _STRIDE = 10, 11
FX, FY, SLOPE_U, SLOPE_V, FLOATS = 0, 1, 2, 3, 4
BLEND, SQUARED, U, V, _SIZE, STEPS = 8, 9, 10, 11, 12, 13


@inline
def new_scratch():
    """Scratch of a block: ints, floats, and per read four corners with their weights."""
    return (
        np.zeros((2 * INTS + 2, LANES), np.int32),
        np.empty((STEPS + 4, LANES), np.float32),
        np.empty((8, LANES), np.int32),
        np.empty((8, LANES), np.float32),
    )


@inner
def _axis(coordinate, size, wrap, low, high, weight, slope):
    """Along one axis: the two texels around each coordinate, the weight of the second, its slope.

    A coordinate that is not finite gets a NaN weight, but valid addresses.
    """
    if wrap == REPEAT:
        for i in range(LANES):
            weight[i] = coordinate[i] - np.floor(coordinate[i])
            slope[i] = size[i]
    elif wrap == CLAMP:
        for i in range(LANES):
            s = coordinate[i]
            s = ZERO if s < ZERO else s
            s = ONE if s > ONE else s
            weight[i] = s + (coordinate[i] - coordinate[i])  # NaN if infinite
            slope[i] = size[i]
    else:
        for i in range(LANES):
            s = coordinate[i]
            s = s - _TWO * np.floor(s * _HALF)
            slope[i] = -size[i] if s > ONE else size[i]
            weight[i] = _TWO - s if s > ONE else s
    around = wrap == REPEAT
    for i in range(LANES):
        n = size[i]
        x = weight[i] * n - _HALF
        first = np.floor(x)
        second = first + ONE
        weight[i] = x - first
        before = first + n if around else ZERO
        after = second - n if around else n - ONE
        first = before if first < ZERO else first
        second = after if second >= n else second
        # A comparison with NaN fails, which leads here to texel 0.
        low[i] = np.int32(first if first > ZERO else ZERO)
        high[i] = np.int32(second if second > ZERO else ZERO)


@inner
def _choose_levels(steps, levels, squared, bits, low, high, blend):
    """The two mip levels of each pixel and the weight of the coarser one.

    The level is log2 of the longer of a pixel's two steps (to the right, down) in finest texels.
    ``squared`` returns that length squared; ``bits`` views ``blend`` as integers, through which
    log2 takes exponent and mantissa apart.
    """
    height = np.float32(levels[0, 1])
    width = np.float32(levels[0, 2])
    last = np.int32(levels.shape[0] - 1)
    coarsest = np.float32(last)
    for i in range(LANES):
        right_u = steps[0, i] * width
        down_u = steps[1, i] * width
        right_v = steps[2, i] * height
        down_v = steps[3, i] * height
        right = right_u * right_u + right_v * right_v
        down = down_u * down_u + down_v * down_v
        longer = right if right > down else down
        longer = longer if longer > _TINY else _TINY
        squared[i] = longer
        blend[i] = longer
    for i in range(LANES):
        low[i] = (bits[i] >> 23) - 127
        bits[i] = (bits[i] & 0x7FFFFF) | 0x3F800000
    for i in range(LANES):
        mantissa = blend[i]
        # log2(m) = 2 atanh((m - 1) / (m + 1)) / ln 2; the rest of the series is < 2e-6 on [1, 2)
        t = (mantissa - ONE) / (mantissa + ONE)
        t2 = t * t
        series = np.float32(1 / 9) * t2 + np.float32(1 / 7)
        series = series * t2 + np.float32(1 / 5)
        series = series * t2 + np.float32(1 / 3)
        series = series * t2 + ONE
        level = _HALF * (np.float32(low[i]) + _TWO * LOG2_E * t * series)
        level = level if level > ZERO else ZERO
        level = level if level < coarsest else coarsest
        whole = np.int32(level)
        low[i] = whole
        high[i] = whole + 1 if whole < last else last
        blend[i] = level - np.float32(whole)


@inner
def _corners(ints, floats, r, reads, levels, channels, corners, weights):
    """Where the four texels of read ``r`` begin, and their weights in the pixel."""
    n = np.int32(channels)
    x0, x1, y0, y1 = ints[INTS * r], ints[INTS * r + 1], ints[INTS * r + 2], ints[INTS * r + 3]
    first, stride = ints[_FIRST], ints[_STRIDE]
    if reads == 1:
        first[:] = 0
        stride[:] = np.int32(levels[0, 2])
    else:
        for i in range(LANES):
            level = np.uint32(ints[INTS * r + LEVEL, i])
            first[i] = np.int32(levels[level, 0])
            stride[i] = np.int32(levels[level, 2])
    for i in range(LANES):
        row0 = np.int32(first[i] + np.int32(y0[i] * stride[i]))
        row1 = np.int32(first[i] + np.int32(y1[i] * stride[i]))
        corners[0, i] = np.int32(np.int32(row0 + x0[i]) * n)
        corners[1, i] = np.int32(np.int32(row0 + x1[i]) * n)
        corners[2, i] = np.int32(np.int32(row1 + x0[i]) * n)
        corners[3, i] = np.int32(np.int32(row1 + x1[i]) * n)
    for i in range(LANES):
        fx = floats[FLOATS * r + FX, i]
        fy = floats[FLOATS * r + FY, i]
        share = ONE
        if reads == 2:
            share = floats[BLEND, i] if r == 1 else ONE - floats[BLEND, i]
        weights[3, i] = fx * fy * share
        weights[2, i] = fy * share - weights[3, i]
        weights[1, i] = fx * share - weights[3, i]
        weights[0, i] = share - fx * share - weights[2, i]


@inner
def choose(scratch, start, count, uv, uv_pixel, levels):
    """Load ``count`` pixels from ``start`` on and choose their mip levels.

    Lanes beyond ``count`` repeat the last pixel. Returns how many reads each pixel makes:
    one, or two where mip levels are blended.
    """
    ints, floats, _, _ = scratch
    u, v = floats[U], floats[V]
    for i in range(LANES):
        p = np.uint64(start + min(i, count - 1))
        u[i] = uv[p, 0]
        v[i] = uv[p, 1]
    if uv_pixel.shape[0] == 0:
        return 1
    steps = floats[STEPS : STEPS + 4]
    for i in range(LANES):
        p = np.uint64(start + min(i, count - 1))
        for k in range(4):
            steps[k, i] = uv_pixel[p, k]
    bits = floats[BLEND].view(np.int32)
    finer, coarser = ints[LEVEL], ints[INTS + LEVEL]
    _choose_levels(steps, levels, floats[SQUARED], bits, finer, coarser, floats[BLEND])
    return 2


@inner
def locate(scratch, reads, levels, channels, wrap):
    """Find the texels and the weights of a block's reads."""
    ints, floats, corners, weights = scratch
    size = floats[_SIZE]
    for r in range(reads):
        ir, fr = ints[INTS * r :], floats[FLOATS * r :]
        for axis in range(2):
            if reads == 1:
                size[:] = np.float32(levels[0, 2 - axis])
            else:
                for i in range(LANES):
                    size[i] = np.float32(levels[np.uint32(ir[LEVEL, i]), 2 - axis])
            low, high = ir[X0 + 2 * axis], ir[_X1 + 2 * axis]
            _axis(floats[U + axis], size, wrap, low, high, fr[FX + axis], fr[SLOPE_U + axis])
        _corners(ints, floats, r, reads, levels, channels, corners[4 * r :], weights[4 * r :])


@inline
def four(corners, r, i):
    """The corners of a read, unsigned so that no index is checked for its sign."""
    return (
        np.uint64(np.uint32(corners[4 * r, i])),
        np.uint64(np.uint32(corners[4 * r + 1, i])),
        np.uint64(np.uint32(corners[4 * r + 2, i])),
        np.uint64(np.uint32(corners[4 * r + 3, i])),
    )


@inline
def finite(floats, i):
    return floats[FX, i] == floats[FX, i] and floats[FY, i] == floats[FY, i]
