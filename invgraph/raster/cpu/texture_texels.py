"""CPU kernels of texture sampling that work texel by texel: mip levels, gradients of the texels.

For a gradient, the rows of every mip level are cut into bands. Runs of pixels first list what they
read, sorted by bands; then each band adds up its share of all lists, in the order of the pixels. So
any number of threads gives the same bits, and a band stays in the cache until it is complete.
"""

import numpy as np
from llvmlite import ir
from numba import types

from invgraph.kernels.lanes import F32, intrinsic, load, place_of, splat, store
from invgraph.kernels.threads import finish_and_take, reserve, take, wait
from invgraph.raster.cpu.texture_places import (
    BLEND,
    INTS,
    LANES,
    LEVEL,
    Y0,
    Y1,
    ZERO,
    U,
    V,
    choose,
    inner,
    jit,
    locate,
    new_scratch,
)

CHUNK = 4096  # pixels per unit of work
_UPPER, _LOWER = 1, 2  # which rows of a read a band holds


@inner
def _mix_rows(source, start, width, places, weights, line):
    """Weighted sum of a few rows of ``width`` values of ``source``."""
    for m in range(places.shape[0]):
        first = np.uint64(start + places[m] * width)
        weight = weights[m]
        if m == 0:
            for i in range(np.uint64(width)):
                line[i] = weight * source[first + i]
        else:
            for i in range(np.uint64(width)):
                line[i] += weight * source[first + i]


@inner
def _mix_columns(line, places, weights, target, start):
    """Each value of a row of ``target`` from a few places of ``line``; 0 if from none."""
    first = np.uint64(start)
    size = np.uint64(places.shape[1])
    for n in range(np.uint64(places.shape[0])):
        if n == 0:
            for i in range(size):
                target[first + i] = weights[n, i] * line[places[n, i]]
        else:
            for i in range(size):
                target[first + i] += weights[n, i] * line[places[n, i]]


@jit
def halve(team, source, width, kept, target, y, wy, x, wx):
    """Make a mip level of the one before it, and copy that to ``kept`` unless ``kept`` is empty.

    Each row and each value in a row of ``target`` names its taps: ``y, wy`` (rows, taps) and
    ``x, wx`` (taps, values). Arrays of texels are (textures, values), ``width`` counts the values
    of a row of ``source``.
    """
    rows, size = y.shape[0], x.shape[1]
    height = source.shape[1] // width
    line = np.empty(width, np.float32)
    units = source.shape[0] * rows
    unit = take(team, 0, units)
    while unit >= 0:
        t, row = unit // rows, unit % rows
        _mix_rows(source[t], 0, width, y[row], wy[row], line)
        _mix_columns(line, x, wx, target[t], row * size)
        if kept.size:
            first = 2 * row * width
            last = (height if row == rows - 1 else 2 * row + 2) * width
            kept[t, first:last] = source[t, first:last]
        unit = finish_and_take(team, 0, units)
    wait(team, 0, units)


@intrinsic
def _copy4(typingctx, target, place, source, start):
    """Copy four numbers of 32 bits from row ``start`` to row ``place``."""

    def codegen(context, builder, signature, args):
        target, place, source, start = args
        four = ir.Constant(ir.IntType(64), 4)
        place, start = builder.mul(place, four), builder.mul(start, four)
        pointer = place_of(context, builder, signature.args[2], source, start)
        row = load(builder, pointer, ir.VectorType(F32, 4))
        store(builder, row, place_of(context, builder, signature.args[0], target, place))
        return context.get_dummy_value()

    return types.void(target, types.int64, source, types.int64), codegen


@inner
def _list_run(
    start, stop, channels, uv, uv_pixel, levels, wrap, grad, first_band, shift, scratch, run,
    counter, ends, places, shares,
):  # fmt: skip
    """List the reads of a run of pixels in the order of their bands.

    A read comes once for each of the (up to two) bands that hold its rows, unless it has no weight,
    or its pixel no gradient or coordinates that are not finite.
    """
    ints, floats, corners, weights = scratch
    run_places, run_shares, run_bands = run
    live = np.empty(LANES, np.bool_)
    nc = np.uint64(channels)
    size = np.int64(0)
    ends[:] = 0
    for p in range(start, stop, LANES):
        count = min(LANES, stop - p)
        reads = choose(scratch, p, count, uv, uv_pixel, levels)
        locate(scratch, reads, levels, channels, wrap)
        for i in range(np.uint64(count)):
            magnitude = ZERO
            for k in range(nc):
                magnitude += abs(grad[(np.uint64(p) + i) * nc + k])
            nothing = floats[U, i] - floats[U, i] + floats[V, i] - floats[V, i]
            live[i] = magnitude != ZERO and nothing == ZERO
        for i in range(np.uint64(count)):
            if not live[i]:
                continue
            for r in range(np.uint64(reads)):
                if r == 1 and floats[BLEND, i] == ZERO:
                    continue
                band = first_band[np.uint32(ints[INTS * r + LEVEL, i])] if reads == 2 else 0
                upper = np.uint32(band + (ints[INTS * r + Y0, i] >> shift))
                lower = np.uint32(band + (ints[INTS * r + Y1, i] >> shift))
                ends[upper + 1] += 1
                if lower != upper:
                    ends[lower + 1] += 1
                n = np.uint64(size)
                run_bands[n, 0] = upper
                run_bands[n, 1] = lower
                run_places[n, 0] = np.int32(p - start) + np.int32(i)
                for k in range(3):
                    run_places[n, k + 1] = corners[4 * r + k, i]
                for k in range(4):
                    run_shares[n, k] = weights[4 * r + k, i]
                size += 1
    # ends[band + 1] becomes where a band begins, then moves to where it ends.
    total = ends.sum()
    at = reserve(counter, total)
    if at + total > places.shape[0]:
        return
    ends[0] = at
    for band in range(1, ends.shape[0]):
        at, ends[band] = at + ends[band], at
    for n in range(size):
        upper, lower = run_bands[n, 0], run_bands[n, 1]
        rows = np.int32(_UPPER | _LOWER if upper == lower else _UPPER)
        for band in (upper, lower):
            at = ends[band + 1]
            ends[band + 1] += 1
            _copy4(places, at, run_places, n)
            _copy4(shares, at, run_shares, n)
            places[np.uint64(at), 0] = run_places[np.uint64(n), 0] << 2 | rows
            if upper == lower:
                break
            rows = np.int32(_LOWER)


@jit
def list_reads(
    team, channels, uv, uv_pixel, levels, wrap, per_image, grad, first_band, shift, counter,
    ends, places, shares,
):  # fmt: skip
    """List which texels each run of pixels reads, sorted by bands of texels.

    ``grad`` is flat. Bands of 2 ** ``shift`` rows are counted from ``first_band`` of each level.
    Run i lists its reads of band j from ``ends[i, j]`` to ``ends[i, j + 1]``: in ``places``, 4 *
    (pixel of the run) + (which rows are in the band), and where three of four texels begin; in
    ``shares``, the four weights. ``counter`` returns the length of all lists; if that is more than
    there is room for, the lists are of no use.
    """
    chunks = (per_image + CHUNK - 1) // CHUNK
    units = ends.shape[0]
    scratch = new_scratch()
    run = (
        np.empty((2 * CHUNK, 4), np.int32),
        np.empty((2 * CHUNK, 4), np.float32),
        np.empty((2 * CHUNK, 2), np.uint32),
    )
    unit = take(team, 0, units)
    while unit >= 0:
        start = unit // chunks * per_image + unit % chunks * CHUNK
        stop = min(start + CHUNK, (unit // chunks + 1) * per_image)
        _list_run(
            start, stop, channels, uv, uv_pixel, levels, wrap, grad, first_band, shift, scratch,
            run, counter, ends[unit], places, shares,
        )  # fmt: skip
        unit = finish_and_take(team, 0, units)
    wait(team, 0, units)


@intrinsic
def _spread4(typingctx, target, places, grad, source, shares):
    """Add four numbers of ``grad`` from ``source`` on, times a share, at each of four places."""

    def codegen(context, builder, signature, args):
        target, places, grad, source, shares = args
        g = load(
            builder,
            place_of(context, builder, signature.args[2], grad, source),
            ir.VectorType(F32, 4),
        )
        for k in range(signature.args[1].count):
            place = builder.extract_value(places, k)
            pointer = place_of(context, builder, signature.args[0], target, place)
            share = splat(builder, builder.extract_value(shares, k), 4)
            part = builder.fmul(g, share, flags=("contract",))
            before = load(builder, pointer, ir.VectorType(F32, 4))
            store(builder, builder.fadd(before, part, flags=("contract",)), pointer)
        return context.get_dummy_value()

    return types.void(target, places, grad, types.int64, shares), codegen


@inner
def _add_reads(first, last, places, shares, grad, start, channels, target, offset):
    """Add the listed reads of a run of pixels from ``start`` on to the texels of a band."""
    fours = channels // 4 * 4
    for e in range(np.uint64(first), np.uint64(last)):
        what = places[e, 0]
        g = (start + (what >> 2)) * channels
        a = offset + places[e, 1]
        b = offset + places[e, 2]
        c = offset + places[e, 3]
        d = c + (b - a)
        wa, wb, wc, wd = shares[e, 0], shares[e, 1], shares[e, 2], shares[e, 3]
        if what & _UPPER:
            for k in range(0, fours, 4):
                _spread4(target, (a + k, b + k), grad, g + k, (wa, wb))
            for k in range(fours, channels):
                target[np.uint64(a + k)] += wa * grad[np.uint64(g + k)]
                target[np.uint64(b + k)] += wb * grad[np.uint64(g + k)]
        if what & _LOWER:
            for k in range(0, fours, 4):
                _spread4(target, (c + k, d + k), grad, g + k, (wc, wd))
            for k in range(fours, channels):
                target[np.uint64(c + k)] += wc * grad[np.uint64(g + k)]
                target[np.uint64(d + k)] += wd * grad[np.uint64(g + k)]


@jit
def add_level(
    team, channels, per_image, grad, band, shift, ends, places, shares, coarser, y, wy, x, wx,
    first, level,
):  # fmt: skip
    """Gradient of a level's texels: the coarser level's, handed down, and what pixels read here.

    ``band`` is the level's first, ``first`` where its texels begin in the pyramid. ``level`` is
    (textures, values), and so is ``coarser``, whose taps are named as in ``halve``; without any, it
    gives nothing.
    """
    textures = level.shape[0]
    rows, width = y.shape[0], x.shape[1]
    bands = ((rows - 1) >> shift) + 1
    chunks = (per_image + CHUNK - 1) // CHUNK
    mine = ends.shape[0] // textures  # runs of pixels that read one texture
    coarse_rows = max(np.int64(1), y.max() + 1 if y.size else 1)
    coarse_width = coarser.shape[1] // coarse_rows
    line = np.empty(coarse_width, np.float32)
    flat, flat_coarser = level.reshape(-1), coarser.reshape(-1)
    units = textures * bands
    unit = take(team, 0, units)
    while unit >= 0:
        t, b = unit // bands, unit % bands
        for row in range(b << shift, min((b + 1) << shift, rows)):
            start = t * coarser.shape[1]
            _mix_rows(flat_coarser, start, coarse_width, y[row], wy[row], line)
            start = t * level.shape[1] + row * width
            if x.shape[0] == 0:
                flat[start : start + width] = 0
            _mix_columns(line, x, wx, flat, start)
        offset = t * level.shape[1] - first
        for i in range(t * mine, (t + 1) * mine):
            start = i // chunks * per_image + i % chunks * CHUNK
            low, high = ends[i, band + b], ends[i, band + b + 1]
            _add_reads(low, high, places, shares, grad, start, channels, flat, offset)
        unit = finish_and_take(team, 0, units)
    wait(team, 0, units)
