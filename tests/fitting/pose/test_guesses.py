"""Poses that something else guesses: when they are taken, and when all is searched."""

from dataclasses import replace
from importlib import import_module

import pytest
import torch
from tracking_scenes import backdrop, painted_cube, photo, pose_at, view

from invgraph.encoders.finder import Finder
from invgraph.encoders.scene_encoder import SceneEncoder
from invgraph.evaluate.pose_metrics import pose_error
from invgraph.fitting.pose import estimate_pose, make_object
from invgraph.fitting.scene.guesses import Guesses
from invgraph.fitting.scene.object_prior import object_prior
from invgraph.fitting.scene.scene_model import SceneModel
from invgraph.geometry.primitives import icosphere

TRUTH = pose_at((0.5, 0.6, 0.2), (0.02, -0.01, 0.5))


@pytest.fixture(scope="module")
def cube():
    return painted_cube()


@pytest.fixture(scope="module")
def image(cube):
    return photo(cube, TRUTH, view(), backdrop())


@pytest.mark.parametrize(("sure", "clear", "searched"), [
    (True, 99.0, False),  # no outline is as clear, but both agree that the object is there
    (False, 99.0, True),
    (False, 0.0, False),
])  # fmt: skip
def test_a_search_follows_only_a_guess_that_is_in_doubt(
    cube, image, monkeypatch, sure, clear, searched
):
    tried = []
    module = import_module("invgraph.fitting.pose.track")
    monkeypatch.setattr(module, "ENOUGH", clear)
    monkeypatch.setattr(module, "search", lambda *rest: tried.append(1) or [])
    near = TRUTH.clone()
    near[2, 3] *= 1.02
    found = estimate_pose(image, view().lens, cube, guess=lambda *rest: (near[None], sure))
    assert bool(tried) == searched
    assert found.found and pose_error(found.pose, TRUTH)[1] < 2


def test_an_encoder_that_knows_nothing_is_not_sure(cube, image):
    known = object_prior(cube)
    torch.manual_seed(0)
    model = SceneModel.of(SceneEncoder(known.prior, 16), Finder("light"), known, {})
    poses, sure = Guesses(model, cube)(image, view().lens)
    assert poses.shape[1:] == (4, 4) and not sure
    assert bool(poses.isfinite().all())


def test_the_encoder_of_another_object_is_refused(cube):
    known = object_prior(cube)
    model = SceneModel.of(SceneEncoder(known.prior, 16), Finder("light"), known, {})
    with pytest.raises(ValueError, match="give the encoder of this object"):
        Guesses(model, replace(cube, mesh=replace(cube.mesh, vertices=2 * cube.mesh.vertices)))
    ball = icosphere(4)
    radius = cube.mesh.vertices.norm(dim=1).max()
    alike = make_object(replace(ball, vertices=radius * ball.vertices), None, "ball")
    with pytest.raises(ValueError, match="another shape than ball"):
        Guesses(model, alike)
