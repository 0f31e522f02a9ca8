"""Bundle adjustment of a shared lens: derivatives, and what must not matter."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from invgraph.fitting.place import Matches, refine_cameras
from invgraph.fitting.place.adjustment import Adjustment, BundleState, _Held, centres
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.transforms import invert, look_at, perturb

EYES = ([0.0, 0, 0], [1.0, 0.2, 0], [0.4, 1.0, 0.3], [-0.7, 0.4, 0.5])


def cameras() -> list[Camera]:
    found = []
    for eye in EYES:
        target, up = [0.0, 0.0, 6.0], [0.1, -1.0, 0.0]
        pose = look_at(*(torch.tensor(v, dtype=torch.float64) for v in (eye, target, up)))
        focal = torch.full((2,), 100.0, dtype=torch.float64)
        principal = torch.tensor([48.0, 36.0], dtype=torch.float64)
        found.append(Camera(Lens(focal, principal, 72, 96), pose))
    return found


def points(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    drawn = torch.rand(count, 3, generator=generator, dtype=torch.float64)
    return 4 * drawn + torch.tensor([-2.0, -2.0, 4.0])


@pytest.mark.parametrize("hold", [None, (0.02, 0.01)])
def test_slopes_are_half_of_the_costs_gradient(hold) -> None:
    """Nothing is where it belongs: poses are moved, points off, the lens bent."""
    random = np.random.default_rng(0)
    seen, where = cameras(), points(7)
    pixels = np.concatenate([camera.project(where)[0].numpy() for camera in seen])
    poses = np.stack([camera.camera_from_world.numpy() for camera in seen])
    data = Adjustment(
        poses,
        np.full((4, 2), 100.0),
        np.tile([48.0, 36.0], (4, 1)),
        np.repeat(np.arange(4), 7),
        np.tile(np.arange(7), 4),
        pixels + random.normal(size=pixels.shape),
    )
    moves = torch.from_numpy(0.01 * random.normal(size=(4, 6)))
    moved = perturb(torch.from_numpy(poses), moves).numpy() if hold else poses
    off = where.numpy() + 0.02 * random.normal(size=(7, 3))
    state = BundleState(np.array([0.02, -0.05, 0.03]), moved, off)
    problem = _Held(data, hold)
    equations = problem.linearise(state)
    assert equations.eliminated is not None
    slopes = 2 * np.concatenate((equations.slope, equations.eliminated.slope.reshape(-1)))
    assert len(slopes) == 3 + 21 + (24 if hold else 0)
    assert equations.cost == problem.cost(state)
    for axis, slope in enumerate(slopes):
        step = 1e-6 * np.eye(len(slopes))[axis]
        ahead, behind = (problem.cost(problem.retract(state, sign * step)) for sign in (1, -1))
        assert slope == pytest.approx((ahead - behind) / 2e-6, rel=1e-4, abs=1e-4)


def test_centres_by_hand() -> None:
    """A quarter turn about y, x to -z: the camera at (1, 2, 3) has t = -R c = (-3, -2, 1)."""
    pose = np.array([[0.0, 0, 1, -3], [0, 1, 0, -2], [-1, 0, 0, 1], [0, 0, 0, 1]])
    np.testing.assert_array_equal(centres(pose[None]), [[1.0, 2, 3]])


def refined(origin: torch.Tensor, **settings: float) -> list[Camera]:
    """Cameras found from a focal length that is 10 % off and shaken poses, in a moved world."""
    seen, where = cameras(), points(60)
    pixels = [camera.project(where)[0] for camera in seen]
    matches = [Matches(a, b, pixels[a], pixels[b]) for b in range(4) for a in range(b)]
    away = torch.eye(4, dtype=torch.float64)
    away[:3, 3] = -origin
    shaken = torch.randn(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    given = [
        Camera(
            replace(camera.lens, focal=1.1 * camera.focal),
            perturb(camera.camera_from_world, 0.001 * move) @ away,
        )
        for camera, move in zip(seen, shaken, strict=True)
    ]  # fmt: skip
    return refine_cameras(given, matches, **settings)[0]


def test_where_the_world_begins_does_not_matter() -> None:
    shift = torch.tensor([4e5, -5e6, 200.0], dtype=torch.float64)
    here, there = refined(torch.zeros(3)), refined(shift)
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(other.focal, one.focal, rtol=1e-5, atol=0)
        torch.testing.assert_close(other.centre - shift, one.centre, rtol=0, atol=1e-5)


def test_poses_that_are_right_stay_where_they_are() -> None:
    given, found = refined(torch.zeros(3), turn=0.0, shift=0.0), refined(torch.zeros(3))
    true = [camera.camera_from_world for camera in cameras()]
    shaken = torch.randn(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for exact, free, pose, move in zip(given, found, true, shaken, strict=True):
        kept = perturb(pose, 0.001 * move)
        torch.testing.assert_close(exact.camera_from_world, kept, rtol=0, atol=2e-5)
        assert ((free.camera_from_world @ invert(kept)) - torch.eye(4)).abs().max() > 1e-4
