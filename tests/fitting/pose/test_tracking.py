"""A known object is found, followed, lost and found again in small renders with exact truth."""

import dataclasses
import math
from importlib import import_module

import pytest
import torch
import tracking_scenes
from tracking_scenes import painted_cube, pose_at, view

from invgraph.fitting.pose import KnownObject, Tracker, estimate_pose
from invgraph.fitting.pose.image_descent import ImageDescent
from invgraph.fitting.pose.refine import Fit
from invgraph.geometry.transforms import difference, perturb
from invgraph.scene.belief import PoseBelief

TRUE = pose_at((0.5, 0.6, 0.2), (0.01, -0.01, 0.45))


def photo(model: KnownObject, pose: torch.Tensor | None, blur: int = 1) -> torch.Tensor:
    """A picture of the model, or of nothing, before clutter."""
    behind = tracking_scenes.backdrop()
    image = behind if pose is None else tracking_scenes.photo(model, pose, view(), behind)
    image = image.permute(2, 0, 1)[None]
    image = torch.nn.functional.avg_pool2d(image, blur, 1, blur // 2, count_include_pad=False)
    return image[0].permute(1, 2, 0)


def away(belief: PoseBelief, truth: torch.Tensor) -> tuple[float, float]:
    """Millimetres and degrees."""
    step = difference(belief.pose, truth)
    return 1e3 * float(step[:3].norm()), float(step[3:].norm().rad2deg())


@pytest.fixture(scope="module")
def model() -> KnownObject:
    return painted_cube()


@pytest.mark.slow
def test_a_start_beside_the_truth_ends_at_the_truth(model):
    step = torch.tensor([0.008, -0.005, 0.01, 0.04, -0.03, 0.02])
    belief = estimate_pose(photo(model, TRUE), view().lens, model, perturb(TRUE, step))
    millimetres, degrees = away(belief, TRUE)
    assert belief.found and millimetres < 2.0 and degrees < 1.5
    assert belief.contains(TRUE, 0.99)


def test_colours_are_learnt_from_the_first_image(model):
    bare = model.painted(None)
    tracker = Tracker(bare, view().lens, TRUE)
    tracker.step(photo(model, TRUE))
    moved = perturb(TRUE, torch.tensor([0.006, 0.004, -0.005, 0.03, 0.05, -0.04]))
    belief, _, _ = tracker.step(photo(model, moved))
    millimetres, degrees = away(belief, moved)
    assert belief.found and millimetres < 8.0 and degrees < 4.0


@pytest.mark.slow
def test_an_object_of_another_colour_than_its_file_says_is_found_and_followed(model):
    """As of a modelling program's default material."""
    red = model.painted(torch.tensor([0.8, 0.02, 0.01]).expand_as(model.mesh.vertices))
    tracker = Tracker(red, view().lens, TRUE)
    moved = perturb(TRUE, torch.tensor([0.006, 0.004, -0.005, 0.03, 0.05, -0.04]))
    for pose in (TRUE, moved):
        belief, _, _ = tracker.step(photo(model, pose))
        millimetres, degrees = away(belief, pose)
        assert belief.found and millimetres < 8.0 and degrees < 4.0
    assert tracker.model.albedo is None  # the file's colour is forgotten


@pytest.mark.slow
def test_another_colour_is_not_learnt_at_a_wrong_pose(model):
    """Colours learnt there agree with it, so that a model without any is said to be found."""
    red = model.painted(torch.tensor([0.8, 0.02, 0.01]).expand_as(model.mesh.vertices))
    start = perturb(TRUE, torch.tensor([0.0, 0.05, -0.08, 0.3, 0.0, 0.0]))
    bare = estimate_pose(photo(model, TRUE), view().lens, model.painted(None), start)
    assert bare.found and away(bare, TRUE)[0] > 50.0
    belief = estimate_pose(photo(model, TRUE), view().lens, red, start)
    assert not belief.found or away(belief, TRUE)[0] < 8.0


@pytest.mark.slow
def test_an_object_of_one_colour_that_is_not_there_is_not_found(model):
    """What is where it was expected is not learnt to be it."""
    red = model.painted(torch.tensor([0.8, 0.02, 0.01]).expand_as(model.mesh.vertices))
    absent, _, _ = Tracker(red, view().lens, TRUE).step(photo(model, None))
    assert not absent.found


@pytest.mark.slow
def test_an_object_that_is_gone_is_lost_and_found_when_it_is_back(model):
    tracker = Tracker(model, view().lens, TRUE)
    assert tracker.step(photo(model, TRUE))[0].found
    gone = tracker.step(photo(model, None))[0]
    assert not gone.found
    for _ in range(6):
        belief = tracker.step(photo(model, TRUE))[0]
    assert belief.found and away(belief, TRUE)[0] < 8.0


def test_where_nothing_is_found_to_begin_with_nothing_is_said(model, monkeypatch):
    monkeypatch.setattr(Tracker, "_searches", lambda *_: iter([(list, math.inf)]))
    belief, verdict, window = Tracker(model, view().lens).step(photo(model, None))
    assert not belief.found and verdict is None and window is None


@pytest.mark.parametrize(("score", "stays"), [(0.0, True), (0.9, False)])
def test_an_expected_pose_gives_way_only_to_one_at_which_the_object_is(
    model, monkeypatch, score, stays
):
    image, far = photo(model, None), perturb(TRUE, torch.tensor([0.15, 0.0, 0.0, 0.0, 1.5, 0.0]))

    def found(descent, _):
        judged = descent.judge(far)
        assert judged is not None
        window, verdict = judged
        likely = dataclasses.replace(verdict, likelihood=100.0, score=score)
        return [(Fit(far, torch.eye(6)), window, likely)]

    monkeypatch.setattr(ImageDescent, "try_starts", found)
    monkeypatch.setattr(Tracker, "_searches", lambda *_: iter([(list, math.inf)]))
    monkeypatch.setattr(ImageDescent, "settle", lambda _, chosen: chosen)
    belief, _, _ = Tracker(model, view().lens, TRUE).step(image)
    assert belief.found is not stays
    assert torch.equal(belief.pose, far) is not stays


def test_a_given_pose_is_itself_a_start(model, monkeypatch):
    far = torch.tensor([0.3, 0.0, 0.0, 0.0, 0.0, 0.0])
    module = import_module("invgraph.fitting.pose.track")  # a function has its name, too
    monkeypatch.setattr(module, "slide", lambda *given: perturb(given[-1], far))
    monkeypatch.setattr(Tracker, "_searches", lambda *_: iter([]))
    near = perturb(TRUE, torch.tensor([0.003, -0.002, 0.004, 0.03, -0.02, 0.02]))
    belief = estimate_pose(photo(model, TRUE), view().lens, model, near)
    assert belief.found and away(belief, TRUE)[0] < 2.0


@pytest.mark.slow
def test_an_image_without_the_object_gives_not_found(model):
    assert not estimate_pose(photo(model, None), view().lens, model).found


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.2, 0.3])
def test_an_object_behind_a_board_is_found_from_a_start_beside_it(model, share):
    image = photo(model, TRUE)
    changed = (image - photo(model, None)).abs().sum(-1) > 0.1
    columns = changed.any(0).nonzero()[:, 0]
    left = int(columns[0])
    edge = left + round(share * (int(columns[-1]) - left))
    image[:, left - 15 : edge] = torch.tensor([0.2, 0.3, 0.1])
    start = perturb(TRUE, torch.tensor([0.02, 0.02, 0.025, 0.1, -0.1, 0.1]))
    belief, verdict, window = Tracker(model, view().lens, start).step(image)
    millimetres, degrees = away(belief, TRUE)
    assert belief.found and millimetres < 8.0 and degrees < 4.0
    assert verdict is not None and window is not None
    hidden = window.paste(verdict.hidden)
    assert not hidden[:, edge + 4 :].any()
    assert hidden[:, left:edge].sum() > 0.8 * window.paste(window.covered)[:, left:edge].sum()


@pytest.mark.slow
def test_the_covariance_grows_with_blur_and_distance(model):
    def spread(image: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        belief = estimate_pose(image, view().lens, model, pose)
        assert belief.found
        return torch.tensor(belief.spread())

    far = TRUE.clone()
    far[:3, 3] *= 1.6
    sharp = spread(photo(model, TRUE), TRUE)
    assert (spread(photo(model, TRUE, blur=7), TRUE) > sharp).all()
    assert (spread(photo(model, far), far) > 1.3 * sharp).all()


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        (pose_at((0.0, 0.0, 0.0), (0.0, 0.0, -0.5)), "behind the camera"),
        (pose_at((0.0, 0.0, 0.0), (5.0, 0.0, 0.5)), "outside the image"),
        (pose_at((0.0, 0.0, 0.0), (0.0, 0.0, 500.0)), "--object-scale 0.001"),
    ],
)
def test_a_start_that_cannot_be_is_refused(model, pose, message):
    with pytest.raises(ValueError, match=message):
        Tracker(model, view().lens, pose)


def test_neither_colours_nor_a_pose_are_refused(model):
    with pytest.raises(ValueError, match="no colours"):
        Tracker(model.painted(None), view().lens)
