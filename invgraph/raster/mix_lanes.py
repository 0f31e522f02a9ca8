"""Blends of three corners and their derivatives, four pixels of a triangle at a time.

A vector holds four channels of four pixels of a *run*: pixels of a row that see the same triangle.
What the triangle's corners have is loaded once per run.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .lanes import F32, I32, intrinsic, load, place_of, shuffle, splat, store

STEP = 4  # pixels of a vector
_I64 = ir.IntType(64)
_FOUR, _ALL = ir.VectorType(F32, 4), ir.VectorType(F32, 4 * STEP)
_FUSED = ("contract",)  # a product and a sum may become one instruction


@intrinsic
def mix_run(typingctx, out, place, values, corners, bary, pixel, count, stride):
    """Four channels of ``count`` pixels (or up to ``STEP - 1`` more) from ``pixel`` on:
    ``out[place:place+4]``, and so on every ``stride``, becomes what the three ``corners`` (places
    in ``values``) have, weighted by ``bary``.
    """

    def codegen(context, builder, signature, args):
        out, place, values, corners, bary, pixel, count, stride = args
        first, second, third = _slopes(context, builder, signature.args[2], values, corners)
        with cgutils.for_range_slice(
            builder, ir.Constant(_I64, 0), count, ir.Constant(_I64, STEP)
        ) as (done, _):
            here = builder.add(pixel, done)
            w0, w1 = _weights(context, builder, signature.args[4], bary, here)
            total = builder.fadd(builder.fmul(w0, first, flags=_FUSED), third, flags=_FUSED)
            total = builder.fadd(builder.fmul(w1, second, flags=_FUSED), total, flags=_FUSED)
            index = builder.add(place, builder.mul(done, stride))
            for k in range(STEP):
                four = shuffle(builder, total, total, range(4 * k, 4 * k + 4))
                store(builder, four, place_of(context, builder, signature.args[0], out, index))
                index = builder.add(index, stride)
        return context.get_dummy_value()

    index = types.int64
    three = types.UniTuple(index, 3)
    return types.void(out, index, values, three, bary, index, index, index), codegen


@intrinsic
def unmix_run(
    typingctx, sums, place, step, values, corners, grad, source, stride, bary, pixel, count,
    grad_bary, target,
):  # fmt: skip
    """The backward pass of ``mix_run``.

    Adds to ``sums`` at ``place`` (+ ``step``, + 2 ``step``) what the corners get. What the weights
    get goes to ``grad_bary`` from ``target`` on. ``grad`` is read from ``source`` on, every
    ``stride``. Up to ``STEP - 1`` pixels more are read, and their weights get zeros.
    """

    def codegen(context, builder, signature, args):
        (
            sums, place, step, values, corners, grad, source, stride, bary, pixel, count,
            grad_bary, target,
        ) = args  # fmt: skip
        first, second, _ = _slopes(context, builder, signature.args[3], values, corners)
        none = ir.Constant(_ALL, None)
        *totals, every = (cgutils.alloca_once_value(builder, none) for _ in range(3))
        lanes = ir.Constant(ir.VectorType(I32, 4 * STEP), [k // 4 for k in range(4 * STEP)])
        with cgutils.for_range_slice(
            builder, ir.Constant(_I64, 0), count, ir.Constant(_I64, STEP)
        ) as (done, _):
            here = builder.add(pixel, done)
            left = builder.trunc(builder.sub(count, done), I32)
            left = splat(builder, left, 4 * STEP)
            mine = builder.icmp_signed("<", lanes, left)
            index = builder.add(source, builder.mul(done, stride))
            parts = []
            for _ in range(STEP):
                at = place_of(context, builder, signature.args[5], grad, index)
                parts.append(load(builder, at, _FOUR))
                index = builder.add(index, stride)
            g = _join(builder, parts)
            g = builder.select(mine, g, none)
            w0, w1 = _weights(context, builder, signature.args[8], bary, here)
            for total, weight in zip(totals, (w0, w1), strict=True):
                value = builder.fmul(g, weight, flags=_FUSED)
                builder.store(builder.fadd(value, builder.load(total), flags=_FUSED), total)
            builder.store(builder.fadd(builder.load(every), g), every)
            both = builder.fmul(g, first), builder.fmul(g, second)
            # Of four products, the first two and the last two; then of these sums, even and odd.
            low, high = (
                [4 * p + k + i for p in range(STEP) for k in half for i in (0, 4 * STEP)]
                for half in ((0, 1), (2, 3))
            )
            result = builder.fadd(shuffle(builder, *both, low), shuffle(builder, *both, high))
            even = shuffle(builder, result, result, [k for k in range(4 * STEP) if k % 4 < 2])
            odd = shuffle(builder, result, result, [k for k in range(4 * STEP) if k % 4 > 1])
            index = builder.add(target, builder.add(done, done))
            at = place_of(context, builder, signature.args[11], grad_bary, index)
            store(builder, builder.fadd(even, odd), at)
        shares = []
        for total in (*totals, every):
            v = builder.load(total)
            while v.type.count > 4:
                half = v.type.count // 2
                low, high = range(half), range(half, 2 * half)
                v = builder.fadd(shuffle(builder, v, v, low), shuffle(builder, v, v, high))
            shares.append(v)
        shares[2] = builder.fsub(builder.fsub(shares[2], shares[0]), shares[1])
        for share in shares:
            at = place_of(context, builder, signature.args[0], sums, place)
            store(builder, builder.fadd(load(builder, at, _FOUR), share), at)
            place = builder.add(place, step)
        return context.get_dummy_value()

    index = types.int64
    three = types.UniTuple(index, 3)
    return types.void(
        sums, index, index, values, three, grad, index, index, bary, index, index,
        grad_bary, index,
    ), codegen  # fmt: skip


def _join(builder, parts):
    """One vector of several of the same length."""
    while len(parts) > 1:
        parts = [
            shuffle(builder, parts[k], parts[k + 1], range(2 * parts[k].type.count))
            for k in range(0, len(parts), 2)
        ]
    return parts[0]


def _slopes(context, builder, array_type, values, corners):
    """What the first and the second corner have more than the third, and the third, per pixel."""
    rows = [
        load(
            builder,
            place_of(context, builder, array_type, values, builder.extract_value(corners, k)),
            _FOUR,
        )
        for k in range(3)
    ]
    rows = [_join(builder, [row] * STEP) for row in rows]
    return builder.fsub(rows[0], rows[2]), builder.fsub(rows[1], rows[2]), rows[2]


def _weights(context, builder, array_type, bary, pixel):
    """The first two weights of pixels, each four times."""
    place = place_of(context, builder, array_type, bary, builder.add(pixel, pixel))
    pairs = load(builder, place, ir.VectorType(F32, 2 * STEP))
    return [
        shuffle(builder, pairs, pairs, [2 * (k // 4) + i for k in range(4 * STEP)])
        for i in range(2)
    ]
