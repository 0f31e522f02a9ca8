"""The rational distortion polynomial for compiled kernels; Brown's has zeros for k4, k5, k6."""

from invgraph.kernels.threads import inner

_NEWTON_STEPS = 8


@inner
def bend(x, y, lens, out):
    """Distorted place on the image plane and its derivatives by x and y.

    Args:
        lens: fx, fy, cx, cy, k1, k2, p1, p2, k3, k4, k5, k6.
        out: x, y, the four derivatives, row by row, and what the polynomial with k1 is divided by.

    Source:
        Brown, Decentering distortion of lenses (1966), in OpenCV's parameters.
    """
    k1, k2, p1, p2, k3 = lens[4], lens[5], lens[6], lens[7], lens[8]
    k4, k5, k6 = lens[9], lens[10], lens[11]
    r = x * x + y * y
    below = 1 + r * (k4 + r * (k5 + r * k6))
    radial = (1 + r * (k1 + r * (k2 + r * k3))) / below
    slope = 2 * (k1 + r * (2 * k2 + 3 * r * k3) - radial * (k4 + r * (2 * k5 + 3 * r * k6))) / below
    out[0] = x * radial + 2 * p1 * x * y + p2 * (r + 2 * x * x)
    out[1] = y * radial + p1 * (r + 2 * y * y) + 2 * p2 * x * y
    out[2] = radial + slope * x * x + 2 * p1 * y + 6 * p2 * x
    out[3] = slope * x * y + 2 * p1 * x + 2 * p2 * y
    out[4] = out[3]
    out[5] = radial + slope * y * y + 6 * p1 * y + 2 * p2 * x
    out[6] = below


@inner
def straighten(u, v, lens, bent):
    """Ray (x, y, 1) through a pixel; ``bent`` becomes the lens there (:func:`bend`)."""
    p, q = (u - lens[2]) / lens[0], (v - lens[3]) / lens[1]
    x, y = p, q
    for _ in range(_NEWTON_STEPS):
        bend(x, y, lens, bent)
        e, f = bent[0] - p, bent[1] - q
        if e * e + f * f < 1e-22:
            break
        determinant = bent[2] * bent[5] - bent[3] * bent[4]
        x -= (bent[5] * e - bent[3] * f) / determinant
        y -= (bent[2] * f - bent[4] * e) / determinant
    return x, y
