"""The loss of view synthesis: exact scenes cost nothing, and each piece does what it says."""

from dataclasses import fields, replace

import pytest
import torch
from moving_camera import camera, look, walk
from torch import Tensor

from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.transforms import invert
from invgraph.scene.belief import DepthBelief
from invgraph.train.objective import Explained, Pieces, Teacher, Weights, shrunk, view_synthesis

OFF = Pieces(*[False] * len(fields(Pieces)))
HEIGHT, WIDTH = 48, 64


def stacked_lens(dtype: torch.dtype = torch.float32, groups: int = 1) -> Camera:
    eye = torch.eye(4, dtype=dtype).expand(groups, 4, 4)
    focal = torch.full((groups, 2), float(WIDTH), dtype=dtype)
    principal = torch.tensor([WIDTH / 2, HEIGHT / 2], dtype=dtype).expand(groups, 2)
    return Camera(Lens(focal, principal, HEIGHT, WIDTH), eye)


def group(count: int = 3, dtype: torch.dtype = torch.float32):
    poses = walk(count, dtype)
    seen = [look(camera(pose, HEIGHT, WIDTH)) for pose in poses]
    images = torch.stack([image for image, _ in seen])[None]
    depth = torch.stack([depth for _, depth in seen])[None]
    motions = poses[None, None] @ invert(poses)[None, :, None]
    return images, depth, stacked_lens(dtype), motions


def explain(
    images: Tensor,
    depth: Tensor,
    lens: Camera,
    motions: Tensor,
    pieces: Pieces,
    scale: float = 0.1,
    teacher: Teacher | None = None,
    free: Tensor | None = None,
) -> Explained:
    belief = DepthBelief(depth.log(), torch.full_like(depth, scale))
    return view_synthesis(images, belief, lens, motions, pieces, Weights(), teacher, free)


def test_an_exact_scene_is_explained_and_a_wrong_one_is_not():
    images, depth, lens, motions = group()
    pieces = replace(OFF, ssim=True, consistency=True)
    right = explain(images, depth, lens, motions, pieces).parts
    wrong = explain(images, 2.0 * depth, lens, motions, pieces).parts
    assert right["photometric"] < 0.01
    assert wrong["photometric"] > 4 * right["photometric"]
    assert right["consistency"] < 1e-3
    assert wrong["consistency"] > 3 * right["consistency"]


def test_a_motion_that_is_turned_costs():
    images, depth, lens, motions = group()
    pieces = replace(OFF, ssim=True)
    backwards = motions.transpose(1, 2)
    right, wrong = (
        explain(images, depth, lens, m, pieces).parts["photometric"] for m in (motions, backwards)
    )
    assert wrong > 10 * right


def test_gradients_are_those_of_finite_differences():
    images, depth, lens, motions = group(2, torch.float64)
    wave = torch.linspace(0, 6, WIDTH, dtype=torch.float64).sin()
    log_depth = (depth.log() + 0.05 * wave).requires_grad_()
    # The others choose or weigh by what has no gradient on purpose.
    pieces = replace(OFF, ssim=True, smooth=True, consistency=True)
    focal = lens.focal.clone().requires_grad_()
    moved = motions.clone().requires_grad_()

    def loss(log_depth: Tensor, focal: Tensor, moved: Tensor) -> Tensor:
        belief = DepthBelief(log_depth, torch.full_like(log_depth, 0.1))
        there = lens.with_lens(focal=focal)
        return view_synthesis(images, belief, there, moved, pieces, Weights()).parts["loss"]

    inputs = (log_depth, focal, moved)
    slopes = torch.autograd.grad(loss(*inputs), inputs)
    generator = torch.Generator().manual_seed(0)
    for index, slope in enumerate(slopes):
        direction = torch.randn(slope.shape, generator=generator, dtype=torch.float64)
        if index == 2:
            direction[..., 3, :] = 0
        step = 1e-6 * direction
        ends = [
            float(loss(*(x.detach() + s * step if k == index else x.detach()
                         for k, x in enumerate(inputs))))
            for s in (1, -1)
        ]  # fmt: skip
        expected, found = (ends[0] - ends[1]) / 2e-6, float((slope * direction).sum())
        # Bilinear sampling has a kink at every pixel centre, so a few pixels differ.
        assert abs(expected) > 1e-7
        assert found == pytest.approx(expected, rel=0.03)


def test_pixels_that_do_not_move_count_nothing():
    images, depth, lens, motions = group()
    still = images[:, :1].expand(-1, 3, -1, -1, -1)
    pieces = replace(OFF, ssim=True)
    assert explain(still, depth, lens, motions, pieces).parts["photometric"] > 0.05
    masked = replace(pieces, automask=True)
    assert explain(still, depth, lens, motions, masked).parts["photometric"] == 0


def test_the_best_source_explains_what_another_does_not_see():
    images, depth, lens, motions = group()
    covered = images.clone()
    covered[:, 2, 10:30, 20:50] = 0.0
    mean = explain(covered, depth, lens, motions, OFF).parts["photometric"]
    best = explain(covered, depth, lens, motions, replace(OFF, minimum=True)).parts["photometric"]
    assert best < 0.75 * mean


def test_a_change_of_exposure_is_free_when_allowed():
    images, depth, lens, motions = group()
    brighter = images * torch.tensor([1.0, 1.15, 0.9])[:, None, None, None] + 0.02
    plain = explain(brighter, depth, lens, motions, OFF).parts["photometric"]
    free = explain(brighter, depth, lens, motions, replace(OFF, exposure=True)).parts["photometric"]
    assert plain > 0.03
    assert free < 0.2 * plain


def test_what_disagrees_in_depth_counts_less():
    images, depth, lens, motions = group()
    depth = depth.clone()
    depth[:, 1] *= 1.5
    plain = explain(images, depth, lens, motions, OFF).parts["photometric"]
    less = explain(images, depth, lens, motions, replace(OFF, moving=True)).parts["photometric"]
    assert 0.5 * plain < less < 0.9 * plain


def test_the_teacher_costs_by_the_logarithm_of_depth_where_it_knows():
    images, depth, lens, motions = group()
    weight = torch.zeros_like(depth)
    weight[:, 0] = 1.0
    teacher = Teacher(depth.log() + 0.3, weight)
    pieces = replace(OFF, teacher=True)
    found = explain(images, depth, lens, motions, pieces, teacher=teacher)
    parts = found.parts
    # What it does not know is not called certain because frames agree with one another.
    assert found.certain.equal(weight)
    assert parts["teacher"].item() == pytest.approx(0.1, rel=1e-3)  # 0.3 in one frame of three
    assert parts["loss"].item() == pytest.approx(parts["photometric"].item() + 0.1, rel=1e-3)


def test_the_likeliest_scale_is_the_mean_of_what_depth_is_off():
    images, depth, lens, motions = group()
    teacher = Teacher(depth.log() + 0.2, torch.ones_like(depth))
    pieces = replace(OFF, teacher=True, uncertainty=True)
    costs = [
        explain(images, depth, lens, motions, pieces, scale, teacher).parts["uncertainty"].item()
        for scale in (0.15, 0.2, 0.25)
    ]
    assert costs[1] < min(costs[0], costs[2])
    assert costs[1] == pytest.approx(1 + torch.tensor(0.2).log().item(), abs=1e-3)


def test_the_unit_of_depth_is_held_where_nothing_tells_it():
    images, depth, lens, motions = group()
    means = torch.tensor([0.5, 0.0, -1.0])[:, None, None]
    slope = torch.linspace(-1, 1, WIDTH)  # what is near and far around the mean is free
    depth = (means + slope).exp().expand_as(depth)
    pieces = replace(OFF, unit=True)
    parts = explain(images, depth, lens, motions, pieces, free=torch.ones(1)).parts
    assert parts["unit"].item() == pytest.approx((0.25 + 0 + 1) / 3, rel=1e-4)
    expected = parts["photometric"] + Weights().unit * parts["unit"]
    assert parts["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    told = explain(images, depth, lens, motions, pieces, free=torch.zeros(1)).parts
    assert told["unit"] == 0
    assert "unit" not in explain(images, depth, lens, motions, pieces).parts


def test_a_batch_costs_the_mean_of_its_groups():
    images, depth, lens, motions = group()
    others = [images.flip(1), depth.flip(1) * 1.1, motions.flip(1, 2)]
    both = [torch.cat(pair) for pair in zip((images, depth, motions), others, strict=True)]
    pieces = Pieces(teacher=False)
    whole = explain(both[0], both[1], stacked_lens(groups=2), both[2], pieces).parts["loss"]
    parts = [
        explain(i, d, lens, m, pieces).parts["loss"] for i, d, m in
        ((images, depth, motions), tuple(others))
    ]  # fmt: skip
    assert whole.item() == pytest.approx((parts[0] + parts[1]).item() / 2, rel=1e-4)


def test_halving_averages_blocks():
    image = torch.arange(4 * 4 * 3.0).reshape(1, 4, 4, 3)
    small = shrunk(image, 2)
    assert small.shape == (1, 2, 2, 3)
    assert small[0, 0, 0, 0] == image[0, :2, :2, 0].mean()
