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


def comb(teeth: int) -> np.ndarray:
    """A strip with as many teeth, of four corners each."""
    upper = np.stack([np.arange(4 * teeth)[::-1] / 2.0, np.arange(4 * teeth) % 4 // 2 + 1.0], -1)
    return np.concatenate([[[0, 0], [2 * teeth - 0.5, 0]], upper])


def test_polygons_of_many_corners():
    flat = comb(150)
    vertices, corners = np.pad(flat, ((0, 0), (0, 1))), np.arange(602)
    places, _ = triangulate(vertices, corners, np.array([602]))
    areas = signed_areas(corners, places, flat)
    assert (areas >= -1e-9).all() and areas.sum() == pytest.approx(shoelace(flat))
    flat = comb(300)
    with pytest.raises(ValueError, match="a face of 1202 corners is not convex; export triangles"):
        triangulate(np.pad(flat, ((0, 0), (0, 1))), np.arange(1202), np.array([1202]))
    turn = np.arange(1202) * np.pi / 601
    circle = np.stack([np.cos(turn), np.sin(turn), 0 * turn], -1)
    assert len(triangulate(circle, np.arange(1202), np.array([1202]))[0]) == 1200


def test_a_polygon_that_crosses_itself_everywhere_ends_soon():
    vertices = np.pad(np.random.default_rng(0).normal(size=(1000, 2)), ((0, 0), (0, 1)))
    with pytest.raises(ValueError, match="a face of 1000 corners crosses itself; export triangles"):
        triangulate(vertices, np.arange(1000), np.array([1000]))
    bow_tie = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0]], float)
    assert len(triangulate(bow_tie, np.arange(4), np.array([4]))[0]) == 2
