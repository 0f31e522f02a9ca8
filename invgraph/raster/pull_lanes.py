"""Sums over the pixels of a triangle, eight at a time: the inner loop behind ``rasterize``."""

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .lanes import F32, I32, LANES, intrinsic, load, place_of, shuffle, splat, store

SUMS = 8  # that ``pull_run`` adds to
_I64 = ir.IntType(64)
_WIDE = ir.VectorType(ir.DoubleType(), LANES)


def _pull(deep):
    """An intrinsic that sums over a run of pixels in one triangle, with or without depth."""

    @intrinsic
    def pull(typingctx, sums, place, bary, grad_bary, depth, grad_depth, pixel, count):
        """Add the sums of g_0 w_0, g_0 w_1, g_0, g_1 w_0, g_1 w_1, g_1, and of s w_0 and s w_1 with
        s = g_0 w_0 + g_1 w_1 + g_z z, to ``sums`` from ``place`` on; ``deep``, also that of g_z z.

        Up to ``LANES - 1`` pixels more are read.
        """

        def codegen(context, builder, signature, args):
            sums, place, bary, grad_bary, depth, grad_depth, pixel, count = args
            kinds = signature.args
            none = ir.Constant(_WIDE, None)
            totals = [cgutils.alloca_once_value(builder, none) for _ in range(SUMS + deep)]
            lanes = ir.Constant(ir.VectorType(I32, LANES), list(range(LANES)))

            def read(kind, array, index, size):
                kind = ir.VectorType(F32, size), kind
                return load(builder, place_of(context, builder, kind[1], array, index), kind[0])

            with cgutils.for_range_slice(
                builder, ir.Constant(_I64, 0), count, ir.Constant(_I64, LANES)
            ) as (done, _):
                here = builder.add(pixel, done)
                left = splat(builder, builder.trunc(builder.sub(count, done), I32), LANES)
                mine = builder.icmp_signed("<", lanes, left)

                def gradient(value, mine=mine):
                    """The numbers of the pixels of the run, and zeros."""
                    return builder.select(mine, value, ir.Constant(value.type, None))

                pairs = []
                for kind, array in ((kinds[2], bary), (kinds[3], grad_bary)):
                    both = read(kind, array, builder.add(here, here), 2 * LANES)
                    for k in range(2):
                        value = shuffle(builder, both, both, range(k, 2 * LANES, 2))
                        value = gradient(value) if array is grad_bary else value
                        pairs.append(builder.fpext(value, _WIDE))
                w0, w1, g0, g1 = pairs
                a, d = builder.fmul(g0, w0), builder.fmul(g1, w1)
                shared = builder.fadd(a, d)
                values = [a, builder.fmul(g0, w1), g0, builder.fmul(g1, w0), d, g1]
                if deep:
                    z = builder.fpext(read(kinds[4], depth, here, LANES), _WIDE)
                    gz = gradient(read(kinds[5], grad_depth, here, LANES))
                    far = builder.fmul(builder.fpext(gz, _WIDE), z)
                    shared = builder.fadd(shared, far)
                values += [builder.fmul(shared, w0), builder.fmul(shared, w1)]
                if deep:
                    values.append(far)
                for total, value in zip(totals, values, strict=True):
                    builder.store(builder.fadd(builder.load(total), value), total)
            loaded = [builder.load(total) for total in totals]
            at = place_of(context, builder, kinds[0], sums, place)
            store(builder, builder.fadd(load(builder, at, _WIDE), _add_up(builder, loaded[:8])), at)
            if deep:
                place = builder.add(place, ir.Constant(_I64, SUMS))
                at = place_of(context, builder, kinds[0], sums, place)
                v = loaded[8]
                while v.type.count > 1:
                    half = v.type.count // 2
                    v = builder.fadd(
                        shuffle(builder, v, v, range(half)),
                        shuffle(builder, v, v, range(half, 2 * half)),
                    )
                value = builder.extract_element(v, ir.Constant(I32, 0))
                builder.store(builder.fadd(builder.load(at), value), at)
            return context.get_dummy_value()

        index = types.int64
        kinds = (sums, index, bary, grad_bary, depth, grad_depth, index, index)
        return types.void(*kinds), codegen

    return pull


pull_run, pull_run_deep = _pull(False), _pull(True)


def _add_up(builder, vectors):
    """One vector with the sums of several, as many as they have numbers.

    Each round adds halves of two vectors and puts the results side by side.
    """
    size = len(vectors)
    while len(vectors) > 1:
        merged = []
        block = size // len(vectors)
        for left, right in zip(vectors[0::2], vectors[1::2], strict=True):
            low, high = [], []
            for start in range(0, size, 2 * block):
                low += [start + k for k in range(block)] + [size + start + k for k in range(block)]
                high += [start + block + k for k in range(block)]
                high += [size + start + block + k for k in range(block)]
            low, high = shuffle(builder, left, right, low), shuffle(builder, left, right, high)
            merged.append(builder.fadd(low, high))
        vectors = merged
    return vectors[0]
