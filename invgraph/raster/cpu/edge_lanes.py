"""Edge planes of triangles, several triangles or several pixels at a time.

Everything here is in float64: an edge has exactly opposite planes, seen from its two sides, and
exactly opposite values at a pixel (``rasterize_cpu`` says why that matters). So everybody evaluates
an edge in the same order, ``a * u + (b * v + c)``.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils

from invgraph.kernels.lanes import F32, I32, LANES, intrinsic, load, place_of, shuffle, splat, store

SIDE = 4  # columns of the pixels that ``stamp_square`` draws
PLANES = 14  # numbers of a triangle's plan
SCALE, DETERMINANT = 9, 13
_A, _B, _C, _BOUND = (0, 3, 6), (1, 4, 7), (2, 5, 8), (10, 11, 12)
_F64, _I64 = ir.DoubleType(), ir.IntType(64)
_WIDE = ir.VectorType(_F64, LANES)
# Less than any edge value but 0 can be: those of float32 vertices are above 1e-107.
_BELOW_ZERO = -1e-300
_FAR = 1e9  # px


def _constant(value):
    return ir.Constant(_WIDE, [value] * LANES)


@intrinsic
def find_boxes(
    typingctx, faces, offset, boxes, first, last, found_face, found_box, place, tiny_face, tiny_box
):
    """List the faces from ``first`` to before ``last`` whose box is not empty: those of one pixel
    in ``tiny_face``, ``tiny_box``, the others in ``found_face``, ``found_box`` from ``place`` on.

    ``boxes`` (flat) has four int16 per vertex; ``offset`` is added to the faces' (flat) vertices. A
    face's box is the least of its vertices' rows, number by number: x0, y0, -x1, -y1. Vectors of
    int16 and no branches, because this is all that happens to most faces of a fine mesh.

    Returns:
        The place after the last in either list.
    """

    def codegen(context, builder, signature, args):
        offset, first, last = args[1], args[3], args[4]
        kind = ir.VectorType(ir.IntType(16), 4)
        none, bits = ir.Constant(kind, [0] * 4), ir.IntType(4)

        def at(which, index):
            return place_of(context, builder, signature.args[which], args[which], index)

        zero, one = ir.Constant(_I64, 0), ir.Constant(_I64, 1)
        ends = [cgutils.alloca_once_value(builder, start) for start in (args[7], zero)]
        with cgutils.for_range_slice(builder, first, last, one) as (face, _):
            corner = builder.mul(face, ir.Constant(_I64, 3))
            box = None
            for k in range(3):
                vertex = builder.load(at(0, builder.add(corner, ir.Constant(_I64, k))))
                vertex = builder.add(builder.sext(vertex, _I64), offset)
                row = load(builder, at(2, builder.mul(vertex, ir.Constant(_I64, 4))), kind)
                if box is not None:
                    row = builder.select(builder.icmp_signed("<", row, box), row, box)
                box = row
            # x0 - x1 and y0 - y1.
            excess = builder.add(box, shuffle(builder, box, box, [2, 3, 0, 1]))
            above, below = (
                builder.bitcast(builder.icmp_signed(op, excess, none), bits) for op in "><"
            )
            holds = builder.icmp_unsigned("==", above, bits(0))
            several = builder.icmp_unsigned("!=", below, bits(0))
            belongs = builder.and_(holds, several), builder.and_(holds, builder.not_(several))
            for end, which, mine in zip(ends, (5, 8), belongs, strict=True):
                now = builder.load(end)
                builder.store(builder.trunc(face, I32), at(which, now))
                builder.store(builder.bitcast(box, _I64), at(which + 1, now))
                builder.store(builder.add(now, builder.zext(mine, _I64)), end)
        both = [builder.load(end) for end in ends]
        return context.make_tuple(builder, signature.return_type, both)

    index = types.int64
    kinds = (faces, index, boxes, index, index, found_face, found_box, index, tiny_face, tiny_box)
    return types.UniTuple(index, 2)(*kinds), codegen


@intrinsic
def plan(typingctx, screen, faces, offset, entries, first, last, plans):
    """Edge planes of the triangles ``entries[first]`` to ``entries[first + LANES - 1]``.

    ``screen``, ``faces`` and ``plans`` are flat. Number k of triangle i becomes
    ``plans[LANES * k + i]``: 0 to 8 are a, b, c of the three edges, positive inside; 9 is one over
    the determinant, 0 if the triangle has none; 10 to 12 are what an edge's value exceeds at pixels
    that it owns, 0 but for left and upper edges, which also own the pixels on them; 13 is the
    determinant. Entries beyond ``last`` repeat that.
    """

    def codegen(context, builder, signature, args):
        offset, first, last = args[2], args[4], args[5]
        kinds = signature.args

        def at(which, index):
            return place_of(context, builder, kinds[which], args[which], index)

        three = ir.Constant(_I64, 3)
        narrow = ir.VectorType(F32, LANES)
        points = [ir.Constant(narrow, ir.Undefined) for _ in range(9)]
        for i in range(LANES):
            entry = builder.add(first, ir.Constant(_I64, i))
            entry = builder.select(builder.icmp_signed("<", entry, last), entry, last)
            face = builder.sext(builder.load(at(3, entry)), _I64)
            face = builder.mul(face, three)
            for corner in range(3):
                index = builder.load(at(1, builder.add(face, ir.Constant(_I64, corner))))
                row = builder.mul(builder.add(builder.sext(index, _I64), offset), three)
                for axis in range(3):
                    value = builder.load(at(0, builder.add(row, ir.Constant(_I64, axis))))
                    k = 3 * corner + axis
                    points[k] = builder.insert_element(points[k], value, ir.Constant(I32, i))
        x0, y0, z0, x1, y1, z1, x2, y2, z2 = (builder.fpext(p, _WIDE) for p in points)

        def cross(p, q, r, s):
            return builder.fsub(builder.fmul(p, q), builder.fmul(r, s))

        planes = [
            *(cross(y1, z2, z1, y2), cross(z1, x2, x1, z2), cross(x1, y2, y1, x2)),
            *(cross(y2, z0, z2, y0), cross(z2, x0, x2, z0), cross(x2, y0, y2, x0)),
            *(cross(y0, z1, z0, y1), cross(z0, x1, x0, z1), cross(x0, y1, y0, x1)),
        ]
        det = builder.fadd(
            builder.fadd(builder.fmul(x0, planes[0]), builder.fmul(y0, planes[1])),
            builder.fmul(z0, planes[2]),
        )
        zero = _constant(0.0)
        sign = builder.select(builder.fcmp_ordered("<", det, zero), _constant(-1.0), _constant(1.0))
        planes = [builder.fmul(p, sign) for p in planes]
        size = builder.fmul(det, sign)
        usable = builder.and_(
            builder.fcmp_ordered(">", size, zero),
            builder.fcmp_ordered("<", size, _constant(float("inf"))),
        )
        scale = builder.fdiv(_constant(1.0), builder.select(usable, size, _constant(1.0)))
        numbers = [*planes, builder.select(usable, scale, zero)]
        for a, b in zip(_A, _B, strict=True):
            level = builder.and_(
                builder.fcmp_ordered("==", planes[a], zero),
                builder.fcmp_ordered(">", planes[b], zero),
            )
            owns = builder.or_(builder.fcmp_ordered(">", planes[a], zero), level)
            numbers.append(builder.select(owns, _constant(_BELOW_ZERO), zero))
        numbers.append(det)
        for k, value in enumerate(numbers):
            store(builder, value, at(6, ir.Constant(_I64, k * LANES)))
        return context.get_dummy_value()

    index = types.int64
    return types.void(screen, faces, index, entries, index, index, plans), codegen


@intrinsic
def points(typingctx, plans, boxes, first, limit, values):
    """Draw ``LANES`` triangles of one pixel each, that of ``boxes[first + i]``: bit i is set if
    triangle i of ``plans`` is seen there.

    ``values`` becomes 1 / depth of all triangles, then c_0, then c_1.
    """

    def codegen(context, builder, signature, args):
        plans, boxes, first, limit, values = args
        integers = ir.VectorType(_I64, LANES)
        box = load(builder, place_of(context, builder, signature.args[1], boxes, first), integers)

        def centre(bits):
            """Of the pixel whose number is in the 16 bits below ``bits``."""
            number = builder.shl(box, ir.Constant(integers, [64 - bits] * LANES))
            number = builder.ashr(number, ir.Constant(integers, [48] * LANES))
            return builder.fadd(builder.sitofp(number, _WIDE), _constant(0.5))

        u, v = centre(16), centre(32)
        numbers = []
        for k in range(PLANES):
            index = ir.Constant(_I64, k * LANES)
            place = place_of(context, builder, signature.args[0], plans, index)
            numbers.append(load(builder, place, _WIDE))
        edges, seen = _edges(builder, numbers, u, v)
        inverse = _inverse(builder, numbers, edges)
        seen = builder.and_(
            seen, builder.fcmp_ordered(">", inverse, ir.Constant(inverse.type, [0.0] * LANES))
        )
        limit = splat(builder, limit, LANES)
        seen = builder.and_(seen, builder.fcmp_ordered("<=", inverse, limit))
        for k, value in enumerate((inverse, *_weights(builder, numbers, edges))):
            index = ir.Constant(_I64, k * LANES)
            place = place_of(context, builder, signature.args[4], values, index)
            store(builder, value, place)
        return builder.zext(builder.bitcast(seen, ir.IntType(LANES)), _I64)

    return types.int64(plans, boxes, types.int64, types.float32, values), codegen


def _edges(builder, numbers, u, v):
    """The values of a plan's edges at ``LANES`` pixels, and which of these are inside of all."""
    edges, inside = [], None
    for a, b, c, bound in zip(_A, _B, _C, _BOUND, strict=True):
        edge = builder.fadd(builder.fmul(numbers[b], v), numbers[c])
        edge = builder.fadd(builder.fmul(numbers[a], u), edge)
        mark = builder.fcmp_ordered(">", edge, numbers[bound])
        inside = mark if inside is None else builder.and_(inside, mark)
        edges.append(edge)
    return edges, inside


def _inverse(builder, numbers, edges):
    """1 / depth."""
    total = builder.fadd(builder.fadd(edges[0], edges[1]), edges[2])
    return builder.fptrunc(builder.fmul(total, numbers[SCALE]), ir.VectorType(F32, LANES))


def _weights(builder, numbers, edges):
    """c_0 and c_1."""
    narrow = ir.VectorType(F32, LANES)
    return [builder.fptrunc(builder.fmul(edge, numbers[SCALE]), narrow) for edge in edges[:2]]


def _planes(context, builder, kind, plans, lane):
    """The plan of one triangle, each number in every lane."""
    index = [builder.add(lane, ir.Constant(_I64, k * LANES)) for k in range(PLANES)]
    places = [place_of(context, builder, kind, plans, i) for i in index]
    return [splat(builder, builder.load(place), LANES) for place in places]


def _stamp(columns):
    """An intrinsic that draws ``columns`` x ``LANES / columns`` pixels of a triangle."""

    @intrinsic
    def stamp(typingctx, plans, lane, face, x, y, tile, place, stride, plane, limit):
        """Draw triangle ``lane`` where it covers pixels from ``x``, ``y`` on.

        ``tile`` holds planes of ``plane`` numbers, rows of ``stride``: 1 / depth, c_0, c_1 (all
        float32) and the face; ``place`` is that of the first pixel. A pixel keeps what is there
        unless 1 / depth grows, to at most ``limit``.
        """

        def codegen(context, builder, signature, args):
            plans, lane, face, x, y, tile, place, stride, plane, limit = args
            numbers = _planes(context, builder, signature.args[0], plans, lane)
            bits = ir.IntType(LANES)
            u, v = (splat(builder, builder.sitofp(n, _F64), LANES) for n in (x, y))
            u = builder.fadd(u, ir.Constant(_WIDE, [i % columns + 0.5 for i in range(LANES)]))
            v = builder.fadd(v, ir.Constant(_WIDE, [i // columns + 0.5 for i in range(LANES)]))
            edges, inside = _edges(builder, numbers, u, v)
            inverse = _inverse(builder, numbers, edges)

            def rows_of(k):
                """Where the rows of plane k are."""
                first = builder.add(place, builder.mul(plane, ir.Constant(_I64, k)))
                for row in range(LANES // columns):
                    step = builder.mul(stride, ir.Constant(_I64, row))
                    index = builder.add(first, step)
                    yield place_of(context, builder, signature.args[5], tile, index)

            def read(k):
                kind = ir.VectorType(F32, columns)
                parts = [load(builder, at, kind) for at in rows_of(k)]
                return (
                    parts[0]
                    if len(parts) == 1
                    else shuffle(builder, parts[0], parts[1], range(LANES))
                )

            before = read(0)
            nearer = builder.fcmp_ordered(">", inverse, before)
            limits = splat(builder, limit, LANES)
            nearer = builder.and_(nearer, builder.fcmp_ordered("<=", inverse, limits))
            seen = builder.and_(inside, nearer)
            some = builder.icmp_unsigned("!=", builder.bitcast(seen, bits), bits(0))
            with builder.if_then(some):
                faces = splat(builder, builder.bitcast(face, F32), LANES)
                values = (inverse, *_weights(builder, numbers, edges), faces)
                for k, value in enumerate(values):
                    value = builder.select(seen, value, read(k))
                    for row, at in enumerate(rows_of(k)):
                        order = range(row * columns, (row + 1) * columns)
                        store(builder, shuffle(builder, value, value, order), at)
            return context.get_dummy_value()

        index = types.int64
        kinds = (plans, index, types.int32, index, index, tile, index, index, index)
        return types.void(*kinds, types.float32), codegen

    return stamp


stamp_row = _stamp(LANES)
stamp_square = _stamp(SIDE)


@intrinsic
def spans(typingctx, plans, lane, x, y, first, last):
    """How far ``LANES`` rows of a triangle reach: pixels before ``first`` and after ``last`` do not
    belong to it.

    Counted from ``x``; rows begin at ``y``; both arrays are float64.
    """

    def codegen(context, builder, signature, args):
        plans, lane, x, y, first, last = args
        numbers = _planes(context, builder, signature.args[0], plans, lane)
        left, top = (splat(builder, builder.sitofp(n, _F64), LANES) for n in (x, y))
        v = builder.fadd(top, ir.Constant(_WIDE, [i + 0.5 for i in range(LANES)]))
        low, high = _constant(-_FAR), _constant(_FAR)
        zero = _constant(0.0)

        def size(value):
            return builder.select(
                builder.fcmp_ordered("<", value, zero), builder.fneg(value), value
            )

        for ka, kb, kc in zip(_A, _B, _C, strict=True):
            a, b, c = numbers[ka], numbers[kb], numbers[kc]
            # An edge this level crosses a row where its rounding says.
            slope = builder.fmul(size(a), _constant(2.0**48))
            steep = builder.fadd(builder.fmul(size(b), _constant(2.0**15)), size(c))
            steep = builder.fcmp_ordered(">", slope, steep)
            row = builder.fadd(builder.fmul(b, v), c)
            crossing = builder.fneg(builder.fdiv(row, a))
            crossing = builder.fsub(crossing, left)
            opens = builder.and_(steep, builder.fcmp_ordered(">", a, zero))
            opens = builder.and_(opens, builder.fcmp_ordered(">", crossing, low))
            low = builder.select(opens, crossing, low)
            closes = builder.and_(steep, builder.fcmp_ordered("<", a, zero))
            closes = builder.and_(closes, builder.fcmp_ordered("<", crossing, high))
            high = builder.select(closes, crossing, high)
        # Half a pixel either way for centres, and half a pixel to spare.
        low = builder.fsub(low, _constant(1.0))
        start = ir.Constant(_I64, 0)
        store(builder, low, place_of(context, builder, signature.args[4], first, start))
        store(builder, high, place_of(context, builder, signature.args[5], last, start))
        return context.get_dummy_value()

    index = types.int64
    return types.void(plans, index, index, index, first, last), codegen


@intrinsic
def resolve_lanes(typingctx, tile, plane, start, face, depth, bary, pixel):
    """Write ``LANES`` pixels of a tile to the images: face, depth and both weights."""

    def codegen(context, builder, signature, args):
        tile, plane, start, face, depth, bary, pixel = args
        kind = ir.VectorType(F32, LANES)

        def read(k, kind):
            index = builder.add(start, builder.mul(plane, ir.Constant(plane.type, k)))
            return load(builder, place_of(context, builder, signature.args[0], tile, index), kind)

        inverse = read(0, kind)
        zero = ir.Constant(kind, [0.0] * LANES)
        one = ir.Constant(kind, [1.0] * LANES)
        some = builder.fcmp_ordered(">", inverse, zero)
        z = builder.fdiv(one, builder.select(some, inverse, one))
        z = builder.select(some, z, zero)
        order = [k // 2 + (k % 2) * LANES for k in range(2 * LANES)]
        both = builder.shuffle_vector(
            builder.select(some, builder.fmul(read(1, kind), z), zero),
            builder.select(some, builder.fmul(read(2, kind), z), zero),
            ir.Constant(ir.VectorType(I32, 2 * LANES), order),
        )
        faces = read(3, ir.VectorType(I32, LANES))
        twice = builder.add(pixel, pixel)
        store(builder, faces, place_of(context, builder, signature.args[3], face, pixel))
        store(builder, z, place_of(context, builder, signature.args[4], depth, pixel))
        store(builder, both, place_of(context, builder, signature.args[5], bary, twice))
        return context.get_dummy_value()

    index = types.int64
    return types.void(tile, index, index, face, depth, bary, index), codegen
