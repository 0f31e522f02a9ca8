"""What the depth and motion of a few frames are asked to explain: all pieces of the loss."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from invgraph.geometry.camera import Camera
from invgraph.geometry.tensor_tree import map_tensors
from invgraph.photometric.losses import dissimilarity, smoothness
from invgraph.photometric.warp import warp
from invgraph.scene.belief import DepthBelief


@dataclass(frozen=True)
class Pieces:
    """The pieces of the loss; each can be switched off by itself.

    Attributes:
        ssim: structural similarity beside the absolute difference of colours.
        minimum: the best source explains a pixel, not the mean of all: others may not see it.
        automask: pixels that look the same without any motion count nothing.
        smooth: inverse depth changes where the image does.
        consistency: the depth of a point seen from two frames agrees.
        exposure: a gain and an offset between two frames are free.
        moving: what disagrees in depth between frames moves by itself, and counts less.
        teacher: depth agrees with the multi-view depth of the recording, where there is any.
        uncertainty: the scale of each pixel's belief says how far off its depth is.
        unit: depth is near 1 where nothing else tells its unit.
    """

    ssim: bool = True
    minimum: bool = True
    automask: bool = True
    smooth: bool = True
    consistency: bool = True
    exposure: bool = True
    moving: bool = True
    teacher: bool = True
    uncertainty: bool = True
    unit: bool = True


@dataclass(frozen=True)
class Weights:
    """How much each piece of the loss counts against the photometric one."""

    smooth: float = 1e-3
    consistency: float = 0.1
    teacher: float = 1.0
    uncertainty: float = 0.02
    unit: float = 0.02


@dataclass(frozen=True, eq=False)
class Teacher:
    """Depth of the same frames found otherwise, without labels.

    Attributes:
        log_depth: natural logarithm.
        weight: 0 where there is none.
    """

    log_depth: Float[Tensor, "g n h w"]
    weight: Float[Tensor, "g n h w"]


@dataclass(frozen=True, eq=False)
class Explained:
    """How well a group of frames is explained.

    Attributes:
        parts: ``loss``, ``photometric`` and those other parts that are switched on.
        residual: absolute difference in log depth from the teacher or, without one, from what the
            frame's best other frame says.
        certain: 1 where there is such a difference.
    """

    parts: dict[str, Float[Tensor, ""]]
    residual: Float[Tensor, "g n h w"]
    certain: Float[Tensor, "g n h w"]


def view_synthesis(
    images: Float[Tensor, "g n h w 3"],
    belief: DepthBelief,
    camera: Camera,
    motions: Float[Tensor, "g n n 4 4"],
    pieces: Pieces,
    weights: Weights,
    teacher: Teacher | None = None,
    free: Float[Tensor, " g"] | None = None,
) -> Explained:
    """Explain every frame of a group by every other one.

    All terms are means over all pixels of all groups, so that a batch split over processes gives
    the same gradients as a whole one.

    Args:
        images: sRGB, groups of frames, at the size of the depth maps.
        belief: depth of every frame, ``g n h w``.
        camera: of each group, ``g`` at the world's origin, at the size of the depth maps.
        motions: ``[:, t, s]`` is source_from_target.
        pieces: which parts count.
        weights: of the parts.
        teacher: further depth to agree with.
        free: 1 for groups whose unit of depth nothing tells, 0 for others; None for none: where
            motion is learned, depth and motion may grow together and explain as much, or as
            little once all is too far to move.

    Gradients:
        Reach the belief, the camera and the motions.

    Source:
        Godard et al., Digging Into Self-Supervised Monocular Depth Estimation (2019): minimum and
        automask, equations 4 and 5; Bian et al., Unsupervised Scale-consistent Depth and Ego-motion
        Learning from Monocular Video (2019): consistency and the weight of moving things, equations
        3 and 5.
    """
    count = images.shape[1]
    pairs = [(t, s) for t in range(count) for s in range(count) if s != t]
    target, source = torch.tensor(pairs, device=images.device).unbind(1)
    depth = belief.depth
    layers = torch.cat((images, depth[..., None]), -1)[:, source]
    here = map_tensors(lambda x: x[:, None], camera)
    there = replace(here, camera_from_world=motions[:, target, source])
    seen = warp(layers, there, depth[:, target], here)
    wanted, color, other = images[:, target], seen.image[..., :3], seen.image[..., 3]
    known = seen.known.float()
    if pieces.exposure:
        color = _exposed(color, wanted, known)
    structural = 0.85 if pieces.ssim else 0.0
    error = _by_target(dissimilarity(color, wanted, structural), count)
    difference = (seen.depth - other).abs() / (seen.depth + other).clamp_min(1e-6) * known
    # A pixel that no source sees costs nothing.
    valid = _by_target(known * (1 - difference.detach()) if pieces.moving else known, count)
    best = torch.where(valid > 0, error, torch.inf).argmin(2, keepdim=True)
    if pieces.minimum:
        error, valid = error.gather(2, best), valid.gather(2, best)
    if pieces.automask:
        still = _by_target(dissimilarity(images[:, source], wanted, structural), count)
        valid = valid * (error < still.amin(2, keepdim=True))
    photometric = (error * valid).mean()
    parts = {"photometric": photometric}
    if pieces.smooth:
        inverse = 1 / depth
        inverse = inverse / inverse.mean((-2, -1), keepdim=True)
        parts["smooth"] = smoothness(inverse, images).mean()
    if pieces.consistency:
        parts["consistency"] = difference.mean()
    residual = (seen.depth.clamp_min(1e-6) / other.clamp_min(1e-6)).log().abs()
    residual = torch.where(_by_target(known, count) > 0, _by_target(residual, count), torch.inf)
    residual = residual.amin(2)
    certain = residual.isfinite().to(residual)
    residual = torch.where(certain > 0, residual, 0.0)
    if pieces.teacher and teacher is not None:
        residual = (teacher.log_depth - belief.log_depth).abs()
        parts["teacher"] = (residual * teacher.weight).mean()
        # Elsewhere frames may agree on what is wrong: smooth depth of a bare wall always does.
        certain = (teacher.weight > 0).to(residual)
    residual = residual.detach()
    if pieces.uncertainty:
        unlikely = residual / belief.scale + belief.scale.log()
        parts["uncertainty"] = (unlikely * certain).mean()
    if pieces.unit and free is not None:
        parts["unit"] = (belief.log_depth.mean((-2, -1)).square() * free[:, None]).mean()
    loss = parts["photometric"]
    for name, part in parts.items():
        if name != "photometric":
            loss = loss + getattr(weights, name) * part
    return Explained({"loss": loss, **parts}, residual, certain)


def shrunk(images: Float[Tensor, "*batch h w 3"], factor: int) -> Float[Tensor, "*batch _ _ 3"]:
    """Images averaged over blocks of pixels."""
    planes = images.movedim(-1, -3)
    small = interpolate(planes.flatten(0, -4), scale_factor=1 / factor, mode="area")
    return small.unflatten(0, planes.shape[:-3]).movedim(-3, -1)


def _by_target(x: Tensor, count: int) -> Tensor:
    """Pairs as targets and their sources: ``g n n-1 ...``."""
    return x.unflatten(1, (count, count - 1))


def _exposed(color: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
    """Colours with the mean and the spread that the target has where both are known."""
    weight = known[..., None] / known.sum((-2, -1)).clamp_min(1.0)[..., None, None, None]
    with torch.no_grad():
        means = [(x * weight).sum((-3, -2), keepdim=True) for x in (color, wanted)]
        spreads = [
            ((x - mean).square() * weight).sum((-3, -2), keepdim=True).sqrt()
            for x, mean in zip((color, wanted), means, strict=True)
        ]
        gain = ((spreads[1] + 1e-3) / (spreads[0] + 1e-3)).clamp(0.7, 1.4)
    return gain * (color - means[0]) + means[1]
