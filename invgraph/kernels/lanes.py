"""A few operations on short vectors, written so that the compiler has no choice but to use them.

LLVM's loop vectoriser guards such loops with tests for overlapping memory and with a scalar copy;
for eight or four numbers the guards cost more than the work. Any CPU will do: what its registers
cannot hold, LLVM splits.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic

intrinsic: Any = _intrinsic  # calls leave the first parameter out: no static type says so

LANES = 8  # pixels of a row that are drawn together
F32, I32 = ir.FloatType(), ir.IntType(32)


@intrinsic
def apart(typingctx):
    """Keep the function that calls this out of its callers.

    Inlined into a long kernel, tight loops run out of registers, and compiling takes longer.
    """

    def codegen(context, builder, signature, args):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), codegen


def place_of(context, builder, array_type, array, index):
    data = cgutils.create_struct_proxy(array_type)(context, builder, value=array).data
    return builder.gep(data, [index])


def load(builder, pointer, kind):
    return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=4)


def store(builder, value, pointer):
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=4)


def splat(builder, scalar, count):
    one = builder.insert_element(
        ir.Constant(ir.VectorType(scalar.type, count), ir.Undefined), scalar, ir.Constant(I32, 0)
    )
    return shuffle(builder, one, one, [0] * count)


def shuffle(builder, first, second, order):
    """A vector of numbers of two: ``order`` counts through the first, then the second."""
    order = list(order)
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(I32, len(order)), order))


@intrinsic
def as_float_bits(typingctx, value):
    """The float32 with the bits of an int32."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], F32)

    return types.float32(types.int32), codegen


@intrinsic
def mix4(typingctx, out, place, values, corners, bary, pixel):
    """Four channels of a pixel: ``out[place:place+4]`` becomes what the three ``corners`` (places
    in ``values``) have, weighted by ``bary``.
    """

    def codegen(context, builder, signature, args):
        out, place, values, corners, bary, pixel = args
        first, second, third = _corners(context, builder, signature.args[2], values, corners)
        w0, w1, w2 = _weights(context, builder, signature.args[4], bary, pixel)
        total = builder.fadd(builder.fmul(first, w0), builder.fmul(second, w1))
        total = builder.fadd(total, builder.fmul(third, w2))
        store(builder, total, place_of(context, builder, signature.args[0], out, place))
        return context.get_dummy_value()

    index = types.int64
    return types.void(out, index, values, types.UniTuple(index, 3), bary, index), codegen


@intrinsic
def unmix4(
    typingctx,
    sums,
    place,
    step,
    grad,
    source,
    values,
    corners,
    bary,
    grad_bary,
    pixel,
    count,
    stride,
):
    """The backward pass of ``mix4`` for a run of pixels in one triangle, from ``pixel`` on.

    Adds to ``sums`` at ``place`` (+ ``step``, + 2 ``step``) what the corners get, and to
    ``grad_bary`` what the weights get. ``grad`` is read from ``source`` on, every ``stride``.
    """

    def codegen(context, builder, signature, args):
        sums, place, step, grad, source, values, corners, bary, grad_bary, pixel, count, stride = (
            args
        )
        kind = ir.VectorType(F32, 4)
        first, second, third = _corners(context, builder, signature.args[5], values, corners)
        first, second = builder.fsub(first, third), builder.fsub(second, third)
        totals = [
            cgutils.alloca_once_value(builder, ir.Constant(kind, [0.0] * 4)) for _ in range(3)
        ]
        with cgutils.for_range(builder, count) as loop:
            here = builder.add(pixel, loop.index)
            weights = _weights(context, builder, signature.args[7], bary, here)
            index = builder.add(source, builder.mul(loop.index, stride))
            g = load(builder, place_of(context, builder, signature.args[3], grad, index), kind)
            for total, weight in zip(totals, weights, strict=True):
                builder.store(builder.fadd(builder.load(total), builder.fmul(g, weight)), total)
            pair = ir.VectorType(F32, 2)
            both = [_add_up(builder, builder.fmul(g, slope)) for slope in (first, second)]
            result = ir.Constant(pair, ir.Undefined)
            for k in range(2):
                result = builder.insert_element(result, both[k], ir.Constant(I32, k))
            target = place_of(
                context, builder, signature.args[8], grad_bary, builder.add(here, here)
            )
            store(builder, builder.fadd(load(builder, target, pair), result), target)
        for total in totals:
            target = place_of(context, builder, signature.args[0], sums, place)
            value = builder.fadd(load(builder, target, kind), builder.load(total))
            store(builder, value, target)
            place = builder.add(place, step)
        return context.get_dummy_value()

    index = types.int64
    three = types.UniTuple(index, 3)
    signature = types.void(
        sums, index, index, grad, index, values, three, bary, grad_bary, index, index, index
    )
    return signature, codegen


def _pull(deep):
    """An intrinsic that sums over a run of pixels in one triangle, with or without depth."""

    @intrinsic
    def pull(typingctx, sums, place, bary, grad_bary, depth, grad_depth, pixel, count):
        """Add sum h_i w_k to ``sums[place + 4 * i + k]``, for weights w and corners i, k below 3.

        h_i = g_i - sum_j g_j w_j - g_z z; without depth, the last term is left out.
        """

        def codegen(context, builder, signature, args):
            place, pixel, count = args[1], args[6], args[7]
            double = ir.DoubleType()
            kind, pair = ir.VectorType(double, 4), ir.VectorType(F32, 2)

            def at(which, index):
                return place_of(context, builder, signature.args[which], args[which], index)

            def both(which, index):
                two = load(builder, at(which, index), pair)
                two = builder.fpext(two, ir.VectorType(double, 2))
                return [builder.extract_element(two, ir.Constant(I32, k)) for k in range(2)]

            totals = [
                cgutils.alloca_once_value(builder, ir.Constant(kind, [0.0] * 4)) for _ in range(3)
            ]
            with cgutils.for_range(builder, count) as loop:
                here = builder.add(pixel, loop.index)
                w0, w1 = both(2, builder.add(here, here))
                g0, g1 = both(3, builder.add(here, here))
                w2 = builder.fsub(builder.fsub(ir.Constant(double, 1.0), w0), w1)
                common = builder.fadd(builder.fmul(g0, w0), builder.fmul(g1, w1))
                if deep:
                    z, gz = (builder.fpext(builder.load(at(k, here)), double) for k in (4, 5))
                    common = builder.fadd(common, builder.fmul(gz, z))
                weights = ir.Constant(kind, [0.0] * 4)
                for k, w in enumerate((w0, w1, w2)):
                    weights = builder.insert_element(weights, w, ir.Constant(I32, k))
                pulls = builder.fsub(g0, common), builder.fsub(g1, common), builder.fneg(common)
                for total, h in zip(totals, pulls, strict=True):
                    value = builder.fmul(splat(builder, h, 4), weights)
                    builder.store(builder.fadd(builder.load(total), value), total)
            for i, total in enumerate(totals):
                target = at(0, builder.add(place, ir.Constant(place.type, 4 * i)))
                value = builder.fadd(load(builder, target, kind), builder.load(total))
                store(builder, value, target)
            return context.get_dummy_value()

        index = types.int64
        kinds = (sums, index, bary, grad_bary, depth, grad_depth, index, index)
        return types.void(*kinds), codegen

    return pull


pull, pull_deep = _pull(False), _pull(True)


def _corners(context, builder, array_type, values, corners):
    return [
        load(
            builder,
            place_of(context, builder, array_type, values, builder.extract_value(corners, k)),
            ir.VectorType(F32, 4),
        )
        for k in range(3)
    ]


def _weights(context, builder, array_type, bary, pixel):
    """All three weights of a pixel, four times each."""
    place = place_of(context, builder, array_type, bary, builder.add(pixel, pixel))
    w0 = builder.load(place, align=4)
    w1 = builder.load(builder.gep(place, [ir.Constant(I32, 1)]), align=4)
    w2 = builder.fsub(builder.fsub(ir.Constant(F32, 1.0), w0), w1)
    return [splat(builder, w, 4) for w in (w0, w1, w2)]


def _add_up(builder, four):
    low = builder.shuffle_vector(four, four, ir.Constant(ir.VectorType(I32, 2), [0, 1]))
    high = builder.shuffle_vector(four, four, ir.Constant(ir.VectorType(I32, 2), [2, 3]))
    pair = builder.fadd(low, high)
    return builder.fadd(
        builder.extract_element(pair, ir.Constant(I32, 0)),
        builder.extract_element(pair, ir.Constant(I32, 1)),
    )


@intrinsic
def changes16(typingctx, values, i, j):
    """Bit k is set where ``values[i + k]`` differs from ``values[j + k]``, for k below 16."""

    def codegen(context, builder, signature, args):
        values, i, j = args
        kind = ir.VectorType(I32, 16)
        left, right = (
            load(builder, place_of(context, builder, signature.args[0], values, index), kind)
            for index in (i, j)
        )
        bits = builder.bitcast(builder.icmp_signed("!=", left, right), ir.IntType(16))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(values, types.int64, types.int64), codegen


@intrinsic
def lowest_bit(typingctx, bits):
    """The position of the lowest bit that is set."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen


@intrinsic
def bends16(typingctx, depth, i, step):
    """Bit k is clear where depth runs straight through pixels i+k-step, i+k, i+k+step, i+k+2*step.

    Straight: all four hold something, and the change between the inner two is the mean of the
    changes on either side, but for an eighth of their size.
    """

    def codegen(context, builder, signature, args):
        depth, i, step = args
        kind = ir.VectorType(F32, 16)

        def splat(value):
            return ir.Constant(kind, [value] * 16)

        def absolute(value):
            positive = builder.fcmp_ordered(">=", value, splat(0.0))
            return builder.select(positive, value, builder.fneg(value))

        index = builder.sub(i, step)
        z = []
        for _ in range(4):
            z.append(
                load(builder, place_of(context, builder, signature.args[0], depth, index), kind)
            )
            index = builder.add(index, step)
        left, here, right = (builder.fsub(z[k + 1], z[k]) for k in range(3))
        error = builder.fsub(builder.fadd(here, here), builder.fadd(left, right))
        size = builder.fadd(absolute(left), absolute(right))
        slack = builder.fmul(size, splat(0.25))
        slack = builder.fadd(slack, builder.fmul(z[1], splat(2.0**-14)))
        straight = builder.fcmp_ordered("<=", absolute(error), slack)
        for value in z:
            straight = builder.and_(straight, builder.fcmp_ordered(">", value, splat(0.0)))
        bits = builder.bitcast(builder.not_(straight), ir.IntType(16))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(depth, types.int64, types.int64), codegen
