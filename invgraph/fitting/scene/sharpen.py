"""What is believed after descent: Gaussians as wide as likelihood times belief is at its peaks."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invgraph.fitting.scene.descent import Descended, Objective, units
from invgraph.fitting.scene.lighting import believed_light
from invgraph.fitting.scene.main_light import mean_light
from invgraph.fitting.scene.object_prior import LIGHT, POSE
from invgraph.geometry import transforms
from invgraph.geometry.lens import Lens
from invgraph.scene.prior import Prior
from invgraph.scene.scene_belief import SceneBelief
from invgraph.scene.unknowns import Unknowns

_REACH = 0.3  # units of descent, over which the slope is compared
# Radians, and share of the distance, within which two descents have ended at the same pose.
_SAME_TURN, _SAME_SHIFT = 0.1, 0.03
_NEVER = -50.0  # log-weight of a repetition


def sharpened(
    prior: Prior,
    detailed: Prior,
    belief: SceneBelief,
    ends: Descended,
    images: Float[Tensor, "b h w 3"],
    lens: Lens,
) -> SceneBelief:
    """The belief after descent from it: one hypothesis about each end.

    An end is as probable as its peak is high and wide; of those about the same pose, which are at
    the same peak, only the best counts. The curvature comes from differences of slopes with the
    light solved at each, so that what the light may explain counts as uncertain; what the camera
    made of the colours is taken as it is at the ends. Nothing becomes more uncertain than the
    widest hypothesis was before. The light is solved anew, with shadows, around what the belief
    expected: :func:`believed_light`.

    Args:
        prior: as for :func:`invgraph.fitting.scene.descent.descend`.
        detailed: the same with the object in detail.
        belief: from which was descended.
        ends: of descent.
        images: linear RGB.
        lens: theirs.

    Source:
        Laplace's method: MacKay, Information Theory, Inference, and Learning Algorithms (2003),
        chapter 27.
    """
    objective = Objective.of(prior, belief, images, lens).of_any_camera(ends.values)
    values = dict(ends.values)
    light = values.pop(LIGHT)
    free = [unknown for unknown in prior.unknowns if unknown.path != LIGHT]
    tangents = Unknowns(tuple(replace(u, around=values[u.path]) for u in free))
    unit = units(tangents, values)
    widest = _widest(objective.believed)
    ratio = widest / unit
    curvature = _curvature(objective, tangents, unit, light)
    strength, axes = torch.linalg.eigh(ratio[..., :, None] * curvature * ratio[..., None, :])
    strength = strength.clamp_min(1)
    covariance = axes @ (axes / strength[..., None, :]).mT
    volume = widest.log().sum(-1) + tangents.log_volume(torch.zeros_like(unit))
    log_weights = ends.log_posterior - 0.5 * strength.log().sum(-1) + volume
    log_weights = log_weights.masked_fill(repeated(values[POSE]), _NEVER)
    middles = {**values, LIGHT: light}
    unknowns, means, scales = [], {}, {}
    start = 0
    for unknown in prior.unknowns:
        around = middles[unknown.path].movedim(0, 1)
        if unknown.path == LIGHT:
            expected = mean_light(belief)
            solved, scale = believed_light(detailed, middles, expected, images, lens)
            around = solved.movedim(0, 1)
        else:
            part = slice(start, start + unknown.size)
            start += unknown.size
            block = covariance[..., part, part]
            scale = widest[..., part, None] * torch.linalg.cholesky(block)
        shape = (*around.shape[:2], *unknown.coordinates_shape)
        if unknown.domain.curved:
            unknowns.append(replace(unknown, around=around))
            means[unknown.path] = around.new_zeros(shape)
        else:
            unknowns.append(unknown)
            means[unknown.path] = unknown.coordinates(around)
        scales[unknown.path] = scale.movedim(0, 1)
    weights = log_weights.mT.log_softmax(-1)
    return SceneBelief(Unknowns(tuple(unknowns)), weights, means, scales)


def repeated(poses: Float[Tensor, "n *b 4 4"]) -> Bool[Tensor, " n *b"]:
    """Which poses are about the same as one before them that is not itself a repetition."""
    result = torch.zeros(poses.shape[:-2], dtype=torch.bool)
    for index, here in enumerate(poses):
        step = transforms.difference(poses[:index], here.expand_as(poses[:index]))
        shift, turn = (part.norm(dim=-1) for part in step.split(3, -1))
        near = (shift < _SAME_SHIFT * here[..., :3, 3].norm(dim=-1)) & (turn < _SAME_TURN)
        result[index] = (near & ~result[:index]).any(0)
    return result


def _curvature(
    objective: Objective, tangents: Unknowns, unit: Tensor, light: Tensor
) -> Float[Tensor, "n b m m"]:
    """Minus the second derivatives, per squared unit."""
    n, b, m = unit.shape
    steps = _REACH * torch.eye(m)[:, None, None]
    at = torch.cat([steps, -steps]).expand(2 * m, n, b, m)
    many = Unknowns(tuple(replace(u, around=_many(u.around, 2 * m)) for u in tangents))
    seen = objective.likelihood
    objective = replace(objective, likelihood=replace(seen, roots=_many(seen.roots, 2 * m)))
    wide = unit.expand(2 * m, n, b, m).flatten(0, 1)
    moved = wide * at.flatten(0, 1)
    lit = objective.lit({**many.values(moved), LIGHT: _many(light, 2 * m)})
    slope, _ = objective.slope(many, moved, lit[LIGHT])
    ahead, behind = (wide * slope).unflatten(0, (2 * m, n)).chunk(2)
    second = -((ahead - behind) / (2 * _REACH)).permute(1, 2, 0, 3)
    return 0.5 * (second + second.mT)


def _widest(belief: SceneBelief) -> Float[Tensor, "b m"]:
    """The largest standard deviation of each coordinate among the hypotheses."""
    parts = []
    for unknown in belief.unknowns:
        deviation = belief.scales[unknown.path].square().sum(-1).sqrt()
        parts.append(deviation.amax(-2).expand(*belief.batch_shape, -1))
    return torch.cat(parts, -1)


def _many(value: Tensor | None, count: int) -> Tensor:
    """The same scenes many times over along the first axis."""
    assert value is not None
    return value.expand(count, *value.shape).flatten(0, 1)
