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
def changes64(typingctx, values, i):
    """Bit k is set where ``values[i + k]`` differs from the next number, for k below 63; so is
    bit 63.
    """

    def codegen(context, builder, signature, args):
        values, i = args
        kind = ir.VectorType(I32, 64)
        here = load(builder, place_of(context, builder, signature.args[0], values, i), kind)
        after = shuffle(builder, here, here, [*range(1, 64), 63])
        bits = builder.bitcast(builder.icmp_signed("!=", here, after), ir.IntType(64))
        return builder.or_(bits, ir.Constant(bits.type, -1 << 63))

    return types.int64(values, types.int64), codegen


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


@intrinsic
def without_lowest(typingctx, bits):
    """``bits`` with the lowest bit cleared; ``bits - 1`` would overflow where only the sign is."""

    def codegen(context, builder, signature, args):
        return builder.and_(args[0], builder.sub(args[0], ir.Constant(args[0].type, 1)))

    return types.int64(types.int64), codegen


@intrinsic
def fetch(typingctx, array, start, stop):
    """Have numbers ready in the cache, soon: the rows of a tile are too short for the processor to
    guess what comes next.
    """

    def codegen(context, builder, signature, args):
        array, start, stop = args
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        name = "llvm.prefetch.p0"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        size = context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype))
        line = ir.Constant(ir.IntType(64), 64 // size)
        flags = [ir.Constant(I32, k) for k in (0, 3, 1)]  # to read, keep it close, data
        with cgutils.for_range_slice(builder, start, stop, line) as (index, _):
            place = place_of(context, builder, signature.args[0], array, index)
            builder.call(function, [builder.bitcast(place, byte), *flags])
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), codegen
