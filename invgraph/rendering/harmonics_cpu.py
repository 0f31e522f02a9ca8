"""Spherical harmonics of many directions at once: compiled kernels on a small table.

A row of the table holds one quantity of 32 directions. All offsets into it are constants, and a
loop over a row touches nothing but rows: that is what lets the compiler use vector instructions
(measured: 20 times faster than rows at offsets it does not know).
"""

import numpy as np
from numba import njit

F = np.float32
FAST = {"contract", "nsz", "arcp"}
W = 32  # directions
COUNT = 25  # harmonics

# Offsets. COEFFICIENT and SUM hold three channels of each harmonic, PART and UP of each order.
DIRECTION = 0
VALUE = DIRECTION + 3 * W
COEFFICIENT = VALUE + COUNT * W
SUM = COEFFICIENT + 3 * COUNT * W
PART = SUM + 3 * COUNT * W
UP = PART + 15 * W
WEIGHT = UP + 15 * W
G_DIRECTION = WEIGHT + COUNT * W
SIZE = G_DIRECTION + 3 * W


@njit(nogil=True, cache=True, fastmath=FAST)
def basis(t, order):
    """Spherical harmonics of the directions."""
    for i in range(W):
        t[VALUE + i] = F(0.28209479177387814)
    if order >= 1:
        for i in range(W):
            c = F(0.4886025119029199)
            t[VALUE + W + i] = c * t[DIRECTION + W + i]
            t[VALUE + 2 * W + i] = c * t[DIRECTION + 2 * W + i]
            t[VALUE + 3 * W + i] = c * t[DIRECTION + i]
    if order >= 2:
        for i in range(W):
            x, y, z = t[DIRECTION + i], t[DIRECTION + W + i], t[DIRECTION + 2 * W + i]
            c = F(1.0925484305920792)
            t[VALUE + 4 * W + i] = c * x * y
            t[VALUE + 5 * W + i] = c * y * z
            t[VALUE + 6 * W + i] = F(0.9461746957575601) * z * z - F(0.31539156525252005)
            t[VALUE + 7 * W + i] = c * x * z
            t[VALUE + 8 * W + i] = F(0.5462742152960396) * (x * x - y * y)
    if order >= 3:
        for i in range(W):
            x, y, z = t[DIRECTION + i], t[DIRECTION + W + i], t[DIRECTION + 2 * W + i]
            xx, yy, zz = x * x, y * y, z * z
            five = F(0.4570457994644658) * (F(5) * zz - F(1))
            t[VALUE + 9 * W + i] = F(0.5900435899266435) * y * (F(3) * xx - yy)
            t[VALUE + 10 * W + i] = F(2.890611442640554) * x * y * z
            t[VALUE + 11 * W + i] = y * five
            t[VALUE + 12 * W + i] = F(0.3731763325901154) * z * (F(5) * zz - F(3))
            t[VALUE + 13 * W + i] = x * five
            t[VALUE + 14 * W + i] = F(1.445305721320277) * z * (xx - yy)
            t[VALUE + 15 * W + i] = F(0.5900435899266435) * x * (xx - F(3) * yy)
    if order >= 4:
        for i in range(W):
            x, y, z = t[DIRECTION + i], t[DIRECTION + W + i], t[DIRECTION + 2 * W + i]
            xx, yy, zz = x * x, y * y, z * z
            one = F(7) * zz - F(1)
            three = F(0.6690465435572892) * z * (F(7) * zz - F(3))
            t[VALUE + 16 * W + i] = F(2.5033429417967046) * x * y * (xx - yy)
            t[VALUE + 17 * W + i] = F(1.7701307697799304) * y * z * (F(3) * xx - yy)
            t[VALUE + 18 * W + i] = F(0.9461746957575601) * x * y * one
            t[VALUE + 19 * W + i] = y * three
            t[VALUE + 20 * W + i] = F(0.10578554691520431) * (zz * (F(35) * zz - F(30)) + F(3))
            t[VALUE + 21 * W + i] = x * three
            t[VALUE + 22 * W + i] = F(0.47308734787878004) * (xx - yy) * one
            t[VALUE + 23 * W + i] = F(1.7701307697799304) * x * z * (xx - F(3) * yy)
            t[VALUE + 24 * W + i] = F(0.6258357354491761) * (
                xx * (xx - F(3) * yy) - yy * (F(3) * xx - yy)
            )


@njit(nogil=True, cache=True, fastmath=FAST)
def basis_gradient(t, order):
    """Gradient of the directions: sum_k weight_k grad Y_k."""
    for i in range(W):
        for c in range(3):
            t[G_DIRECTION + c * W + i] = F(0)
    if order >= 1:
        for i in range(W):
            c = F(0.4886025119029199)
            t[G_DIRECTION + i] += c * t[WEIGHT + 3 * W + i]
            t[G_DIRECTION + W + i] += c * t[WEIGHT + W + i]
            t[G_DIRECTION + 2 * W + i] += c * t[WEIGHT + 2 * W + i]
    if order >= 2:
        for i in range(W):
            x, y, z = t[DIRECTION + i], t[DIRECTION + W + i], t[DIRECTION + 2 * W + i]
            c = F(1.0925484305920792)
            d = F(1.0925484305920792) * t[WEIGHT + 8 * W + i]
            xy, yz, xz = (
                c * t[WEIGHT + 4 * W + i],
                c * t[WEIGHT + 5 * W + i],
                c * t[WEIGHT + 7 * W + i],
            )
            t[G_DIRECTION + i] += xy * y + xz * z + d * x
            t[G_DIRECTION + W + i] += xy * x + yz * z - d * y
            t[G_DIRECTION + 2 * W + i] += (
                yz * y + xz * x + F(1.8923493915151202) * t[WEIGHT + 6 * W + i] * z
            )
    if order >= 3:
        for i in range(W):
            x, y, z = t[DIRECTION + i], t[DIRECTION + W + i], t[DIRECTION + 2 * W + i]
            xx, yy, zz = x * x, y * y, z * z
            a = F(0.5900435899266435)
            a9, a15 = a * t[WEIGHT + 9 * W + i], a * t[WEIGHT + 15 * W + i]
            b = F(2.890611442640554) * t[WEIGHT + 10 * W + i]
            c = F(0.4570457994644658)
            c11, c13 = c * t[WEIGHT + 11 * W + i], c * t[WEIGHT + 13 * W + i]
            e = F(0.3731763325901154) * t[WEIGHT + 12 * W + i]
            f = F(1.445305721320277) * t[WEIGHT + 14 * W + i]
            five, difference = F(5) * zz - F(1), F(3) * (xx - yy)
            six = F(6) * x * y
            t[G_DIRECTION + i] += (
                a9 * six + b * y * z + c13 * five + f * F(2) * x * z + a15 * difference
            )
            t[G_DIRECTION + W + i] += (
                a9 * difference + b * x * z + c11 * five - f * F(2) * y * z - a15 * six
            )
            t[G_DIRECTION + 2 * W + i] += (
                b * x * y
                + F(10) * z * (c11 * y + c13 * x)
                + e * (F(15) * zz - F(3))
                + f * (xx - yy)
            )
    if order >= 4:
        for i in range(W):
            x, y, z = t[DIRECTION + i], t[DIRECTION + W + i], t[DIRECTION + 2 * W + i]
            xx, yy, zz = x * x, y * y, z * z
            g = F(2.5033429417967046) * t[WEIGHT + 16 * W + i]
            h17 = F(1.7701307697799304) * t[WEIGHT + 17 * W + i]
            h23 = F(1.7701307697799304) * t[WEIGHT + 23 * W + i]
            p = F(0.9461746957575601) * t[WEIGHT + 18 * W + i]
            j19 = F(0.6690465435572892) * t[WEIGHT + 19 * W + i]
            j21 = F(0.6690465435572892) * t[WEIGHT + 21 * W + i]
            k = F(0.10578554691520431) * t[WEIGHT + 20 * W + i]
            q = F(0.47308734787878004) * t[WEIGHT + 22 * W + i]
            m = F(0.6258357354491761) * t[WEIGHT + 24 * W + i]
            one, three = F(7) * zz - F(1), z * (F(7) * zz - F(3))
            threes = F(21) * zz - F(3)
            left, right, difference = F(3) * xx - yy, xx - F(3) * yy, F(3) * (xx - yy)
            six = F(6) * x * y * z
            t[G_DIRECTION + i] += (
                g * y * left + h17 * six + p * y * one + j21 * three
                + q * F(2) * x * one + h23 * z * difference
                + m * F(4) * x * right
            )  # fmt: skip
            t[G_DIRECTION + W + i] += (
                g * x * right + h17 * z * difference + p * x * one + j19 * three
                - q * F(2) * y * one - h23 * six
                - m * F(4) * y * left
            )  # fmt: skip
            t[G_DIRECTION + 2 * W + i] += (
                h17 * y * left + p * F(14) * x * y * z + (j19 * y + j21 * x) * threes
                + k * z * (F(140) * zz - F(60)) + q * F(14) * z * (xx - yy) + h23 * x * right
            )  # fmt: skip


def _order_kernels(order):
    """Kernels that sum over the harmonics of one order, forward and backward."""
    count = 2 * order + 1
    value, weight = VALUE + order * order * W, WEIGHT + order * order * W
    coefficient, total = COEFFICIENT + 3 * order * order * W, SUM + 3 * order * order * W
    part, up = PART + 3 * order * W, UP + 3 * order * W

    @njit(nogil=True, cache=True, fastmath=FAST)
    def gather(t):
        for i in range(W):
            a, b, c = F(0), F(0), F(0)
            for k in range(count):
                y = t[value + k * W + i]
                a += y * t[coefficient + 3 * k * W + i]
                b += y * t[coefficient + (3 * k + 1) * W + i]
                c += y * t[coefficient + (3 * k + 2) * W + i]
            t[part + i], t[part + W + i], t[part + 2 * W + i] = a, b, c

    @njit(nogil=True, cache=True, fastmath=FAST)
    def spread(t):
        for i in range(W):
            a, b, c = t[up + i], t[up + W + i], t[up + 2 * W + i]
            for k in range(count):
                y = t[value + k * W + i]
                t[weight + k * W + i] = (
                    a * t[coefficient + 3 * k * W + i]
                    + b * t[coefficient + (3 * k + 1) * W + i]
                    + c * t[coefficient + (3 * k + 2) * W + i]
                )
                t[total + 3 * k * W + i] += a * y
                t[total + (3 * k + 1) * W + i] += b * y
                t[total + (3 * k + 2) * W + i] += c * y

    return gather, spread


_gather_0, _spread_0 = _order_kernels(0)
_gather_1, _spread_1 = _order_kernels(1)
_gather_2, _spread_2 = _order_kernels(2)
_gather_3, _spread_3 = _order_kernels(3)
_gather_4, _spread_4 = _order_kernels(4)


@njit(nogil=True, cache=True)
def gather(t, order):
    """Each order's part of the function with these coefficients."""
    _gather_0(t)
    if order >= 1:
        _gather_1(t)
    if order >= 2:
        _gather_2(t)
    if order >= 3:
        _gather_3(t)
    if order >= 4:
        _gather_4(t)


@njit(nogil=True, cache=True)
def spread(t, order):
    """From gradients of the parts to weights of the harmonics; adds those of the coefficients."""
    _spread_0(t)
    if order >= 1:
        _spread_1(t)
    if order >= 2:
        _spread_2(t)
    if order >= 3:
        _spread_3(t)
    if order >= 4:
        _spread_4(t)
