"""Polygons as triangles: area and orientation are kept."""

import numpy as np
import pytest

from invgraph.geometry.polygons import triangulate

TURN = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]


def shoelace(flat: np.ndarray) -> float:
    x, y = flat.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def signed_areas(corners: np.ndarray, places: np.ndarray, flat: np.ndarray) -> np.ndarray:
    a, b, c = flat[corners[places]].swapaxes(0, 1)
    u, v = b - a, c - a
    return (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2


STAR = np.array([[np.cos(a), np.sin(a)] for a in np.arange(10) * np.pi / 5])
STAR[1::2] *= 0.3
SHAPES = {
    "square": [[0, 0], [1, 0], [1, 1], [0, 1]],
    "dart, reflex corner third": [[0, 0], [4, 1], [1, 1], [1, 4]],
    "dart, reflex corner second": [[1, 4], [0, 0], [4, 1], [1, 1]],
    "L": [[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]],
    "star": STAR.tolist(),
    "comb": [
        [0, 0],
        [5, 0],
        [5, 2],
        [4, 2],
        [4, 1],
        [3, 1],
        [3, 2],
        [2, 2],
        [2, 1],
        [1, 1],
        [1, 2],
        [0, 2],
    ],
    "ring with a bridge": [
        *([[0, 0], [3, 0], [3, 3], [0, 3], [0, 0]]),
        *([[1, 1], [1, 2], [2, 2], [2, 1], [1, 1]]),
    ],
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("clockwise", [False, True])
def test_area_and_orientation(name: str, clockwise: bool):
    flat = np.array(SHAPES[name], float)
    flat = flat[::-1].copy() if clockwise else flat
    vertices = np.pad(flat, ((0, 0), (0, 1))) @ TURN.T + [3, -1, 2]
    count = len(flat)
    places, owner = triangulate(vertices, np.arange(count), np.array([count]))
    assert len(places) == count - 2 and not owner.any()
    areas = signed_areas(np.arange(count), places, flat)
    assert (areas * shoelace(flat) >= -1e-9).all()
    assert areas.sum() == pytest.approx(shoelace(flat))


def test_many_polygons_keep_their_order():
    flat = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [4, 1], [1, 4]], float)
    vertices = np.pad(flat, ((0, 0), (0, 1)))
    corners = np.array([0, 1, 2, 3, 0, 1, 3, 0, 1, 0, 4, 2, 5])
    places, owner = triangulate(vertices, corners, np.array([4, 3, 2, 4]))
    assert owner.tolist() == [0, 0, 1, 3, 3]
    assert corners[places[2]].tolist() == [0, 1, 3]
    areas = signed_areas(corners, places, flat)
    assert areas[:2].sum() == pytest.approx(1) and areas[3:].sum() == pytest.approx(3)
    assert (areas > 0).all()


def test_what_has_very_many_corners_and_no_fan_is_refused():
    teeth = np.arange(600) % 4 // 2 + 1.0
    upper = np.stack([np.arange(600)[::-1] / 2.0, teeth], -1)
    flat = np.concatenate([[[0, 0], [299.5, 0]], upper])
    with pytest.raises(ValueError, match="a face of 602 corners is not convex; export triangles"):
        triangulate(np.pad(flat, ((0, 0), (0, 1))), np.arange(602), np.array([602]))
    round_one = np.array([[np.cos(a), np.sin(a), 0] for a in np.arange(602) * np.pi / 301])
    assert len(triangulate(round_one, np.arange(602), np.array([602]))[0]) == 600
