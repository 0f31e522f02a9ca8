"""How surfaces lie around points, from the points next to them."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from invgraph.fitting.motion.alignment import Points

_NEIGHBOURS = 9  # the point itself among them
_SAME = 0.1  # relative difference of inverse depths between points of one surface
_PRIOR_WEIGHT = 0.5  # squared cells: weight of the prior that a surface faces the camera
_CELL = 14  # pixels between points


def slanted(points: Points, lens: Float[np.ndarray, " 12"]) -> Points:
    """Points with the slants of planes through their neighbours' inverse depths.

    Inverse depth is linear on the picture of a plane. Neighbours at other depths, which belong to
    other surfaces, hardly count. Without this, patterns on a road in front of a car would be
    compared as if the road stood upright.

    Args:
        points: each host's own lie on one grid.
        lens: as in ``alignment``; its focal lengths turn pixels into the plane z = 1.
    """
    from scipy.spatial import KDTree

    slants = np.zeros_like(points.slants)
    for low, high in zip(points.starts[:-1], points.starts[1:], strict=True):
        if high - low < _NEIGHBOURS:
            continue
        places, inverses = points.places[low:high], points.inverses[low:high]
        near = KDTree(places).query(places, _NEIGHBOURS)[1]
        step = (places[near] - places[:, None]) / _CELL
        rise = inverses[near] - inverses[:, None]
        relative = rise / (_SAME * inverses[:, None])
        weight = np.exp(-0.5 * relative**2 - 0.25 * (step**2).sum(2))
        normal = np.einsum("nk,nki,nkj->nij", weight, step, step) + _PRIOR_WEIGHT * np.eye(2)
        right = np.einsum("nk,nki,nk->ni", weight, step, rise)
        slants[low:high] = np.linalg.solve(normal, right[..., None])[..., 0] / _CELL * lens[:2]
    return replace(points, slants=slants)
