"""CPU kernels of texture sampling: bilinear or trilinear reads, and their gradients.

A unit of work is a run of pixels or a band of texture rows. Each texel belongs to one band, which
adds its pixels' gradients in the order of the pixels, so any number of threads gives the same bits.
Pixels go through in blocks of ``LANES``, whose address arithmetic vectorises.

Pixels are numbered over the whole batch; each ``per_image`` of them have their own texture, or all
share the only one. A mip pyramid is one run of texels, finest level first: ``levels[l]`` holds
(first texel, height, width, first row), where rows, too, are counted over all levels.
"""

from typing import Any

import numba
import numpy as np

from invgraph.raster.threads import finish, finish_and_take, take, wait

LANES = 256
CHUNK = 8192  # pixels per unit of work
REPEAT, CLAMP, MIRROR = 0, 1, 2

_FASTMATH = {"contract", "nsz", "arcp"}
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    "fastmath": _FASTMATH,
}
_jit = numba.njit(**_OPTIONS)
_INNER_OPTIONS: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True}
_inner = numba.njit(**_INNER_OPTIONS)
_inline = numba.njit(inline="always", fastmath=_FASTMATH)

_ZERO = np.float32(0.0)
_HALF = np.float32(0.5)
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_LOG2_E = np.float32(1.4426950408889634)
_TINY = np.float32(1e-30)

# Rows of the scratch of a block; the reads of a pixel (finer level, coarser level) follow each
# other.
_X0, _X1, _Y0, _Y1, _LEVEL, _INTS = 0, 1, 2, 3, 4, 5
_FIRST, _STRIDE = 10, 11
_FX, _FY, _SLOPE_U, _SLOPE_V, _FLOATS = 0, 1, 2, 3, 4
_BLEND, _SQUARED, _U, _V, _SIZE, _STEPS = 8, 9, 10, 11, 12, 13


@_inline
def _scratch():
    """Scratch of a block: pixels, ints, floats, and per read four corners with their weights."""
    return (
        np.empty(LANES, np.int64),
        np.zeros((2 * _INTS + 2, LANES), np.int32),
        np.empty((_STEPS + 4, LANES), np.float32),
        np.empty((8, LANES), np.int32),
        np.empty((8, LANES), np.float32),
    )


@_inner
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
            s = _ZERO if s < _ZERO else s
            s = _ONE if s > _ONE else s
            weight[i] = s + (coordinate[i] - coordinate[i])  # NaN if infinite
            slope[i] = size[i]
    else:
        for i in range(LANES):
            s = coordinate[i]
            s = s - _TWO * np.floor(s * _HALF)
            slope[i] = -size[i] if s > _ONE else size[i]
            weight[i] = _TWO - s if s > _ONE else s
    around = wrap == REPEAT
    for i in range(LANES):
        n = size[i]
        x = weight[i] * n - _HALF
        first = np.floor(x)
        second = first + _ONE
        weight[i] = x - first
        before = first + n if around else _ZERO
        after = second - n if around else n - _ONE
        first = before if first < _ZERO else first
        second = after if second >= n else second
        # A comparison with NaN fails, which leads here to texel 0.
        low[i] = np.int32(first if first > _ZERO else _ZERO)
        high[i] = np.int32(second if second > _ZERO else _ZERO)


@_inner
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
        t = (mantissa - _ONE) / (mantissa + _ONE)
        t2 = t * t
        series = np.float32(1 / 9) * t2 + np.float32(1 / 7)
        series = series * t2 + np.float32(1 / 5)
        series = series * t2 + np.float32(1 / 3)
        series = series * t2 + _ONE
        level = _HALF * (np.float32(low[i]) + _TWO * _LOG2_E * t * series)
        level = level if level > _ZERO else _ZERO
        level = level if level < coarsest else coarsest
        whole = np.int32(level)
        low[i] = whole
        high[i] = whole + 1 if whole < last else last
        blend[i] = level - np.float32(whole)


@_inner
def _corners(ints, floats, r, reads, levels, channels, corners, weights):
    """Where the four texels of read ``r`` begin, and their weights in the pixel."""
    n = np.int32(channels)
    x0, x1, y0, y1 = ints[_INTS * r], ints[_INTS * r + 1], ints[_INTS * r + 2], ints[_INTS * r + 3]
    first, stride = ints[_FIRST], ints[_STRIDE]
    if reads == 1:
        first[:] = 0
        stride[:] = np.int32(levels[0, 2])
    else:
        for i in range(LANES):
            level = np.uint32(ints[_INTS * r + _LEVEL, i])
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
        fx = floats[_FLOATS * r + _FX, i]
        fy = floats[_FLOATS * r + _FY, i]
        share = _ONE
        if reads == 2:
            share = floats[_BLEND, i] if r == 1 else _ONE - floats[_BLEND, i]
        weights[3, i] = fx * fy * share
        weights[2, i] = fy * share - weights[3, i]
        weights[1, i] = fx * share - weights[3, i]
        weights[0, i] = share - fx * share - weights[2, i]


@_inner
def _choose(scratch, uv, uv_pixel, levels):
    """Load a block of pixels and choose their mip levels.

    Returns how many reads each pixel makes: one, or two where mip levels are blended.
    """
    pixels, ints, floats, _, _ = scratch
    u, v = floats[_U], floats[_V]
    for i in range(LANES):
        p = np.uint64(pixels[i])
        u[i] = uv[p, 0]
        v[i] = uv[p, 1]
    if uv_pixel.shape[0] == 0:
        return 1
    steps = floats[_STEPS : _STEPS + 4]
    for i in range(LANES):
        p = np.uint64(pixels[i])
        for k in range(4):
            steps[k, i] = uv_pixel[p, k]
    bits = floats[_BLEND].view(np.int32)
    finer, coarser = ints[_LEVEL], ints[_INTS + _LEVEL]
    _choose_levels(steps, levels, floats[_SQUARED], bits, finer, coarser, floats[_BLEND])
    return 2


@_inner
def _locate(scratch, reads, levels, channels, wrap, rows_only):
    """Find the texels (only the rows, if that will do) and the weights of a block's reads."""
    _, ints, floats, corners, weights = scratch
    size = floats[_SIZE]
    for r in range(reads):
        ir, fr = ints[_INTS * r :], floats[_FLOATS * r :]
        for axis in range(1 if rows_only else 0, 2):
            if reads == 1:
                size[:] = np.float32(levels[0, 2 - axis])
            else:
                for i in range(LANES):
                    size[i] = np.float32(levels[np.uint32(ir[_LEVEL, i]), 2 - axis])
            low, high = ir[_X0 + 2 * axis], ir[_X1 + 2 * axis]
            _axis(floats[_U + axis], size, wrap, low, high, fr[_FX + axis], fr[_SLOPE_U + axis])
        if not rows_only:
            _corners(ints, floats, r, reads, levels, channels, corners[4 * r :], weights[4 * r :])


@_inline
def _consecutive(pixels, start, count):
    """Fill a block with the pixels from ``start``; lanes beyond ``count`` repeat the last one."""
    for i in range(LANES):
        pixels[i] = start + min(i, count - 1)


@_inline
def _four(corners, r, i):
    """The corners of a read, unsigned so that no index is checked for its sign."""
    return (
        np.uint64(np.uint32(corners[4 * r, i])),
        np.uint64(np.uint32(corners[4 * r + 1, i])),
        np.uint64(np.uint32(corners[4 * r + 2, i])),
        np.uint64(np.uint32(corners[4 * r + 3, i])),
    )


@_inline
def _finite(floats, i):
    return floats[_FX, i] == floats[_FX, i] and floats[_FY, i] == floats[_FY, i]


@_inner
def _sample(start, stop, texels, channels, uv, uv_pixel, levels, wrap, out):
    scratch = _scratch()
    pixels, _, floats, corners, weights = scratch
    nc = np.uint64(channels)
    for p in range(start, stop, LANES):
        count = min(LANES, stop - p)
        _consecutive(pixels, p, count)
        reads = _choose(scratch, uv, uv_pixel, levels)
        _locate(scratch, reads, levels, channels, wrap, False)
        for i in range(np.uint64(count)):
            o = np.uint64(p) + i
            a, b, c, d = _four(corners, 0, i)
            wa, wb, wc, wd = weights[0, i], weights[1, i], weights[2, i], weights[3, i]
            for k in range(nc):
                out[o, k] = (
                    texels[a + k] * wa
                    + texels[b + k] * wb
                    + texels[c + k] * wc
                    + texels[d + k] * wd
                )
        if reads == 2:
            for i in range(np.uint64(count)):
                if floats[_BLEND, i] == _ZERO:
                    continue
                o = np.uint64(p) + i
                a, b, c, d = _four(corners, 1, i)
                wa, wb, wc, wd = weights[4, i], weights[5, i], weights[6, i], weights[7, i]
                for k in range(nc):
                    out[o, k] += (
                        texels[a + k] * wa
                        + texels[b + k] * wb
                        + texels[c + k] * wc
                        + texels[d + k] * wd
                    )


@_inner
def _gradient_steps(o, i, gain, levels, floats, grad_uv_pixel):
    """Chain the gradient of the level, log2 of the longer step; none where that is held at 0."""
    height = np.float32(levels[0, 1])
    width = np.float32(levels[0, 2])
    squared = floats[_SQUARED, i]
    scale = gain * _LOG2_E / squared if squared > _ONE else _ZERO
    right = (floats[_STEPS, i] * width) ** 2 + (floats[_STEPS + 2, i] * height) ** 2
    down = (floats[_STEPS + 1, i] * width) ** 2 + (floats[_STEPS + 3, i] * height) ** 2
    to_right = scale if right > down else _ZERO
    to_down = _ZERO if right > down else scale
    grad_uv_pixel[o, 0] = to_right * floats[_STEPS, i] * width * width
    grad_uv_pixel[o, 1] = to_down * floats[_STEPS + 1, i] * width * width
    grad_uv_pixel[o, 2] = to_right * floats[_STEPS + 2, i] * height * height
    grad_uv_pixel[o, 3] = to_down * floats[_STEPS + 3, i] * height * height


@_inner
def _gradient_uv(
    start, stop, texels, channels, uv, uv_pixel, levels, wrap, grad, grad_uv, grad_uv_pixel
):
    scratch = _scratch()
    pixels, _, floats, corners, _ = scratch
    nc = np.uint64(channels)
    for p in range(start, stop, LANES):
        count = min(LANES, stop - p)
        _consecutive(pixels, p, count)
        reads = _choose(scratch, uv, uv_pixel, levels)
        _locate(scratch, reads, levels, channels, wrap, False)
        for i in range(np.uint64(count)):
            o = np.uint64(p) + i
            du = _ZERO
            dv = _ZERO
            dlevel = _ZERO
            for r in range(reads):
                a, b, c, d = _four(corners, r, i)
                fx = floats[_FLOATS * r + _FX, i]
                fy = floats[_FLOATS * r + _FY, i]
                # The read is ga + fx gb + fy gc + fx fy gd, weighted by the gradient.
                ga = _ZERO
                gb = _ZERO
                gc = _ZERO
                gd = _ZERO
                for k in range(nc):
                    g = grad[o, k]
                    ga += g * texels[a + k]
                    gb += g * (texels[b + k] - texels[a + k])
                    gc += g * (texels[c + k] - texels[a + k])
                    gd += g * (texels[d + k] - texels[c + k] - (texels[b + k] - texels[a + k]))
                share = _ONE
                if reads == 2:
                    share = floats[_BLEND, i] if r == 1 else _ONE - floats[_BLEND, i]
                    value = ga + fx * gb + fy * gc + fx * fy * gd
                    dlevel += value if r == 1 else -value
                du += share * (gb + fy * gd) * floats[_FLOATS * r + _SLOPE_U, i]
                dv += share * (gc + fx * gd) * floats[_FLOATS * r + _SLOPE_V, i]
            finite = _finite(floats, i)
            grad_uv[o, 0] = du if finite else _ZERO
            grad_uv[o, 1] = dv if finite else _ZERO
            if reads == 2:
                gain = dlevel if finite else _ZERO
                _gradient_steps(o, i, gain, levels, floats, grad_uv_pixel)


@_inner
def _find_bands(start, stop, uv, uv_pixel, levels, wrap, grad, first_row, band_shift, bands, fill):
    """Note which bands of texture rows the reads of a run of pixels touch, and count per band.

    ``bands`` (pixels, reads, 2) names the bands of both rows of a read; -1 stands for none: where a
    read has no weight, a pixel no gradient or coordinates that are not finite, or for the second of
    two rows in the same band.
    """
    scratch = _scratch()
    pixels, ints, floats, _, _ = scratch
    live = np.empty(LANES, np.bool_)
    nc = np.uint64(grad.shape[1])
    shift = np.int32(band_shift)
    for p in range(start, stop, LANES):
        count = min(LANES, stop - p)
        _consecutive(pixels, p, count)
        reads = _choose(scratch, uv, uv_pixel, levels)
        _locate(scratch, reads, levels, 1, wrap, True)
        for i in range(np.uint64(count)):
            magnitude = _ZERO
            for k in range(nc):
                magnitude += abs(grad[np.uint64(p) + i, k])
            nothing = floats[_U, i] - floats[_U, i] + floats[_V, i] - floats[_V, i]
            live[i] = magnitude != _ZERO and nothing == _ZERO
        for r in range(reads):
            for i in range(np.uint64(count)):
                first = -1
                second = -1
                if live[i] and (r == 0 or floats[_BLEND, i] != _ZERO):
                    row = first_row + levels[np.uint32(ints[_INTS * r + _LEVEL, i]), 3]
                    first = (row + ints[_INTS * r + _Y0, i]) >> shift
                    second = (row + ints[_INTS * r + _Y1, i]) >> shift
                    fill[np.uint32(first)] += 1
                    if first == second:
                        second = -1
                    else:
                        fill[np.uint32(second)] += 1
                bands[np.uint64(p) + i, np.uint64(r), 0] = first
                bands[np.uint64(p) + i, np.uint64(r), 1] = second


@_inner
def _list_reads(start, stop, bands, fill, entries):
    """List a run of pixels by bands. An entry is 2 pixel + read; ``fill`` the next free places."""
    for p in range(np.uint64(start), np.uint64(stop)):
        for r in range(np.uint64(bands.shape[1])):
            for row in range(np.uint64(2)):
                band = bands[p, r, row]
                if band >= 0:
                    at = fill[np.uint32(band)]
                    fill[np.uint32(band)] = at + 1
                    entries[np.uint64(at)] = np.uint64(2) * p + r


@_inner
def _gradient_texels(
    entries,
    channels,
    uv,
    uv_pixel,
    levels,
    wrap,
    per_image,
    grad,
    rows,
    row_start,
    row_stop,
    grad_texels,
):
    """Add the listed reads to the texels of a band of rows, in the order of the list."""
    scratch = _scratch()
    pixels, ints, _, corners, weights = scratch
    nc = np.uint64(channels)
    for e in range(0, entries.shape[0], LANES):
        count = min(LANES, entries.shape[0] - e)
        for i in range(LANES):
            pixels[i] = entries[e + min(i, count - 1)] >> 1
        reads = _choose(scratch, uv, uv_pixel, levels)
        _locate(scratch, reads, levels, channels, wrap, False)
        for i in range(count):
            r = np.int64(entries[e + i] & 1)
            o = np.uint64(pixels[i])
            t = pixels[i] // per_image if grad_texels.shape[0] > 1 else 0
            row = t * rows + levels[ints[_INTS * r + _LEVEL, i], 3]
            row0 = row + ints[_INTS * r + _Y0, i]
            row1 = row + ints[_INTS * r + _Y1, i]
            target = grad_texels[t]
            a, b, c, d = _four(corners, r, i)
            if row_start <= row0 and row0 < row_stop:
                wa, wb = weights[4 * r, i], weights[4 * r + 1, i]
                for k in range(nc):
                    target[a + k] += wa * grad[o, k]
                    target[b + k] += wb * grad[o, k]
            if row_start <= row1 and row1 < row_stop:
                wc, wd = weights[4 * r + 2, i], weights[4 * r + 3, i]
                for k in range(nc):
                    target[c + k] += wc * grad[o, k]
                    target[d + k] += wd * grad[o, k]


@_inline
def _run_of(unit, chunks, per_image):
    """The image and the pixels of a unit of work."""
    image = unit // chunks
    start = image * per_image + (unit % chunks) * CHUNK
    return image, start, min(start + CHUNK, (image + 1) * per_image)


@_jit
def forward(team, texels, channels, uv, uv_pixel, levels, wrap, per_image, out):
    """Read every pixel. ``texels`` is (textures, texels * channels)."""
    chunks = (per_image + CHUNK - 1) // CHUNK
    units = chunks * (uv.shape[0] // per_image)
    unit = take(team, 0, units)
    while unit >= 0:
        image, start, stop = _run_of(unit, chunks, per_image)
        mine = texels[image if texels.shape[0] > 1 else 0]
        _sample(start, stop, mine, channels, uv, uv_pixel, levels, wrap, out)
        unit = finish_and_take(team, 0, units)
    wait(team, 0, units)


@_jit
def backward_uv(
    team, texels, channels, uv, uv_pixel, levels, wrap, per_image, grad, grad_uv, grad_uv_pixel
):
    """Gradients towards ``uv`` and ``uv_pixel``."""
    chunks = (per_image + CHUNK - 1) // CHUNK
    units = chunks * (uv.shape[0] // per_image)
    unit = take(team, 0, units)
    while unit >= 0:
        image, start, stop = _run_of(unit, chunks, per_image)
        mine = texels[image if texels.shape[0] > 1 else 0]
        _gradient_uv(
            start, stop, mine, channels, uv, uv_pixel, levels, wrap, grad, grad_uv, grad_uv_pixel
        )
        unit = finish_and_take(team, 0, units)
    wait(team, 0, units)


@_jit
def backward_texels(
    team,
    channels,
    uv,
    uv_pixel,
    levels,
    wrap,
    per_image,
    grad,
    rows,
    band_shift,
    touched,
    fill,
    begin,
    entries,
    grad_texels,
):
    """Gradient towards the texels: list the pixels of every band of rows, then add band by band.

    Scratch: ``touched`` (pixels, reads, 2), ``fill`` (units of pixels, bands) filled with zeros,
    ``begin`` (bands + 1), ``entries`` (pixels * reads * 2). ``rows`` counts the rows of one texture
    over all levels; a band has 2 ** ``band_shift``.
    """
    chunks = (per_image + CHUNK - 1) // CHUNK
    units, bands = fill.shape
    unit = take(team, 0, units)
    while unit >= 0:
        image, start, stop = _run_of(unit, chunks, per_image)
        first_row = image * rows if grad_texels.shape[0] > 1 else 0
        places = fill[unit]
        _find_bands(
            start, stop, uv, uv_pixel, levels, wrap, grad, first_row, band_shift, touched, places
        )
        unit = finish_and_take(team, 0, units)
    wait(team, 0, units)
    if take(team, 1, 1) >= 0:
        total = 0
        for band in range(bands):
            begin[band] = total
            for i in range(units):
                count = fill[i, band]
                fill[i, band] = total
                total += count
        begin[bands] = total
        finish(team, 1)
    wait(team, 1, 1)
    unit = take(team, 2, units)
    while unit >= 0:
        _, start, stop = _run_of(unit, chunks, per_image)
        _list_reads(start, stop, touched, fill[unit], entries)
        unit = finish_and_take(team, 2, units)
    wait(team, 2, units)
    band = take(team, 3, bands)
    while band >= 0:
        _gradient_texels(
            entries[begin[band] : begin[band + 1]],
            channels,
            uv,
            uv_pixel,
            levels,
            wrap,
            per_image,
            grad,
            rows,
            band << band_shift,
            (band + 1) << band_shift,
            grad_texels,
        )
        band = finish_and_take(team, 3, bands)
    wait(team, 3, bands)


@_jit
def resample(team, source, target, width, channels, y, wy, x, wx, add):
    """Write ``target`` as weighted sums of ``source``: each row and column names its taps.

    ``y, wy`` (rows, taps) and ``x, wx`` (columns, taps) serve both the box filter that makes a mip
    level and its transpose, which ``add``s a level's gradient to the finer one. Both arrays are
    (textures, texels * channels); ``width`` is that of ``source``.
    """
    rows = y.shape[0]
    columns = x.shape[0]
    row = take(team, 0, rows)
    while row >= 0:
        for t in range(source.shape[0]):
            for i in range(columns):
                for k in range(channels):
                    total = _ZERO
                    for m in range(y.shape[1]):
                        part = _ZERO
                        for n in range(x.shape[1]):
                            at = (y[row, m] * width + x[i, n]) * channels + k
                            part += wx[i, n] * source[t, at]
                        total += wy[row, m] * part
                    at = (row * columns + i) * channels + k
                    target[t, at] = target[t, at] + total if add else total
        row = finish_and_take(team, 0, rows)
    wait(team, 0, rows)
