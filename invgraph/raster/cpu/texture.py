"""CPU kernels of texture sampling: bilinear or trilinear reads, and the gradients of where.

Pixels are numbered over the whole batch; each ``per_image`` of them have their own texture, or all
share the only one.
"""

import numpy as np
from llvmlite import ir
from numba import types

from invgraph.kernels.lanes import F32, intrinsic, load, place_of, splat, store
from invgraph.kernels.threads import finish_and_take, take, wait
from invgraph.raster.cpu.texture_places import (
    BLEND,
    FLOATS,
    FX,
    FY,
    LANES,
    LOG2_E,
    ONE,
    SLOPE_U,
    SLOPE_V,
    SQUARED,
    STEPS,
    ZERO,
    choose,
    finite,
    four,
    inline,
    inner,
    jit,
    locate,
    new_scratch,
)

CHUNK = 8192  # pixels per unit of work


@intrinsic
def _read4(typingctx, out, place, texels, corners, weights, add):
    """Four channels of a read: the sum of four texels with their weights, set or added."""

    def codegen(context, builder, signature, args):
        out, place, texels, corners, weights, add = args
        target = place_of(context, builder, signature.args[0], out, place)
        nothing = ir.Constant(ir.VectorType(F32, 4), [0.0] * 4)
        total = builder.select(add, load(builder, target, nothing.type), nothing)
        for k in range(4):
            corner = builder.extract_value(corners, k)
            texel = place_of(context, builder, signature.args[2], texels, corner)
            weight = splat(builder, builder.extract_value(weights, k), 4)
            part = builder.fmul(load(builder, texel, nothing.type), weight, flags=("contract",))
            total = builder.fadd(total, part, flags=("contract",))
        store(builder, total, target)
        return context.get_dummy_value()

    return types.void(out, types.int64, texels, corners, weights, types.boolean), codegen


@inner
def _sample(start, stop, texels, channels, uv, uv_pixel, levels, wrap, out):
    scratch = new_scratch()
    _, floats, corners, weights = scratch
    fours = channels // 4 * 4
    for p in range(start, stop, LANES):
        count = min(LANES, stop - p)
        reads = choose(scratch, p, count, uv, uv_pixel, levels)
        locate(scratch, reads, levels, channels, wrap)
        for i in range(np.uint64(count)):
            o = (p + np.int64(i)) * channels
            for r in range(reads):
                if r == 1 and floats[BLEND, i] == ZERO:
                    break
                a, b, c, d = four(corners, r, i)
                w = 4 * r
                wa, wb, wc, wd = (
                    weights[w, i],
                    weights[w + 1, i],
                    weights[w + 2, i],
                    weights[w + 3, i],
                )
                for k in range(0, fours, 4):
                    at = (np.int64(a) + k, np.int64(b) + k, np.int64(c) + k, np.int64(d) + k)
                    _read4(out, o + k, texels, at, (wa, wb, wc, wd), r == 1)
                for k in range(np.uint64(fours), np.uint64(channels)):
                    value = (
                        texels[a + k] * wa
                        + texels[b + k] * wb
                        + texels[c + k] * wc
                        + texels[d + k] * wd
                    )
                    place = np.uint64(o) + k
                    out[place] = out[place] + value if r == 1 else value


@inner
def _gradient_steps(o, i, gain, levels, floats, grad_uv_pixel):
    """Chain the gradient of the level, log2 of the longer step; none where that is held at 0."""
    height = np.float32(levels[0, 1])
    width = np.float32(levels[0, 2])
    squared = floats[SQUARED, i]
    scale = gain * LOG2_E / squared if squared > ONE else ZERO
    right = (floats[STEPS, i] * width) ** 2 + (floats[STEPS + 2, i] * height) ** 2
    down = (floats[STEPS + 1, i] * width) ** 2 + (floats[STEPS + 3, i] * height) ** 2
    to_right = scale if right > down else ZERO
    to_down = ZERO if right > down else scale
    grad_uv_pixel[o, 0] = to_right * floats[STEPS, i] * width * width
    grad_uv_pixel[o, 1] = to_down * floats[STEPS + 1, i] * width * width
    grad_uv_pixel[o, 2] = to_right * floats[STEPS + 2, i] * height * height
    grad_uv_pixel[o, 3] = to_down * floats[STEPS + 3, i] * height * height


@inner
def _gradient_uv(
    start, stop, texels, channels, uv, uv_pixel, levels, wrap, grad, grad_uv, grad_uv_pixel
):
    scratch = new_scratch()
    _, floats, corners, _ = scratch
    nc = np.uint64(channels)
    for p in range(start, stop, LANES):
        count = min(LANES, stop - p)
        reads = choose(scratch, p, count, uv, uv_pixel, levels)
        locate(scratch, reads, levels, channels, wrap)
        for i in range(np.uint64(count)):
            o = np.uint64(p) + i
            du = ZERO
            dv = ZERO
            dlevel = ZERO
            # Where a pixel is smaller than a texel, the coarser level has no part.
            for r in range(reads if floats[SQUARED, i] > ONE else 1):
                a, b, c, d = four(corners, r, i)
                fx = floats[FLOATS * r + FX, i]
                fy = floats[FLOATS * r + FY, i]
                # The read is ga + fx gb + fy gc + fx fy gd, weighted by the gradient.
                ga = ZERO
                gb = ZERO
                gc = ZERO
                gd = ZERO
                for k in range(nc):
                    g = grad[o, k]
                    ga += g * texels[a + k]
                    gb += g * (texels[b + k] - texels[a + k])
                    gc += g * (texels[c + k] - texels[a + k])
                    gd += g * (texels[d + k] - texels[c + k] - (texels[b + k] - texels[a + k]))
                share = ONE
                if reads == 2:
                    share = floats[BLEND, i] if r == 1 else ONE - floats[BLEND, i]
                    value = ga + fx * gb + fy * gc + fx * fy * gd
                    dlevel += value if r == 1 else -value
                du += share * (gb + fy * gd) * floats[FLOATS * r + SLOPE_U, i]
                dv += share * (gc + fx * gd) * floats[FLOATS * r + SLOPE_V, i]
            known = finite(floats, i)
            grad_uv[o, 0] = du if known else ZERO
            grad_uv[o, 1] = dv if known else ZERO
            if grad_uv_pixel.shape[0] > 0:
                gain = dlevel if known else ZERO
                _gradient_steps(o, i, gain, levels, floats, grad_uv_pixel)


@inline
def _run_of(unit, chunks, per_image):
    """The image and the pixels of a unit of work."""
    image = unit // chunks
    start = image * per_image + (unit % chunks) * CHUNK
    return image, start, min(start + CHUNK, (image + 1) * per_image)


@jit
def forward(team, texels, channels, uv, uv_pixel, levels, wrap, per_image, out):
    """Read every pixel. ``texels`` is (textures, texels * channels); ``out`` is flat."""
    chunks = (per_image + CHUNK - 1) // CHUNK
    units = chunks * (uv.shape[0] // per_image)
    unit = take(team, 0, units)
    while unit >= 0:
        image, start, stop = _run_of(unit, chunks, per_image)
        mine = texels[image if texels.shape[0] > 1 else 0]
        _sample(start, stop, mine, channels, uv, uv_pixel, levels, wrap, out)
        unit = finish_and_take(team, 0, units)
    wait(team, 0, units)


@jit
def backward_uv(
    team, texels, channels, uv, uv_pixel, levels, wrap, per_image, grad, grad_uv, grad_uv_pixel
):
    """Gradients towards ``uv`` and, unless ``grad_uv_pixel`` is empty, towards ``uv_pixel``."""
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
