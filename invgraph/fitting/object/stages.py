"""The stages of a fit, coarse to fine: scale, triangles, number of steps."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from invgraph.fitting.object.object_estimate import ALBEDO, DOMAINS, Estimate
from invgraph.fitting.object.remesh import FILL, remesh, unwrap
from invgraph.fitting.object.views import Batch, TrainingView, TrainingViews
from invgraph.geometry.color import srgb_from_linear
from invgraph.geometry.mesh import Mesh
from invgraph.photometric import losses
from invgraph.raster import interpolate, rasterize
from invgraph.rendering.render import render
from invgraph.scene import Material, Object, Scene

REFRESH = 100  # steps between updates of what shadows what
TEXELS_PER_PIXEL = 1.2  # more are noise: the photos do not support them
SURE = 0.99  # mask values above are object and nothing else
HOLD = 0.4  # share of a stage at full step size, before the decay to a tenth


@dataclass(frozen=True)
class Stage:
    """One level of the descent.

    Attributes:
        name: what the log calls it.
        window: longest side of the photos' windows, px.
        edge: length of triangle edges relative to the object's diagonal.
        stride: usual vertex step relative to ``edge``.
        smoothness: how far vertex steps spread, in units of edges squared.
        steps: at most.
        share: of the time budget, at most.
        textured: the appearance is a texture from here on, and the triangles stay.
    """

    name: str
    window: int
    edge: float
    stride: float
    smoothness: float
    steps: int
    share: float
    textured: bool = False


STAGES = (
    Stage("coarse", 128, 1 / 50, 0.05, 20.0, 200, 0.08),
    Stage("middle", 256, 1 / 100, 0.1, 10.0, 300, 0.16),
    Stage("texture", 400, 1 / 160, 0.15, 5.0, 300, 0.26, textured=True),
    Stage("full size", 800, 1 / 160, 0.2, 2.0, 1400, 0.5, textured=True),
)


def descend(
    estimate: Estimate,
    photos: TrainingViews,
    mask_weight: Tensor,
    stage: Stage,
    views: int,
    generator: torch.Generator,
    done: Callable[[int], float],
    report: Callable[[int, Callable[[], tuple[float, float]]], None],
    first: int = 0,
) -> None:
    """Move an estimate until its renders match the photos.

    Args:
        mask_weight: per photo, 1 if its mask counts, else 0.
        views: photos per step.
        done: maps a step to how far the stage is, 0 to 1; 1 or more ends it.
        report: hears of every step; the function that it is given measures loss and PSNR.
        first: step to start from.
    """
    order: list[int] = []
    for step in range(first, stage.steps):
        share = done(step)
        if share >= 1:
            break
        if step % REFRESH == 0 and step > first:
            estimate.refresh()
        if len(order) < views:
            order += torch.randperm(len(photos), generator=generator).tolist()
        chosen, order = order[:views], order[views:]
        loss, color, batch = _compare(estimate, photos, chosen, mask_weight, estimate.scene(chosen))
        if estimate.per_image_light is not None:
            loss = loss + estimate.per_image_light.cost(chosen)
        estimate.step(loss, 0.1 ** max(0.0, (share - HOLD) / (1 - HOLD)))
        report(step, partial(_measure, loss.detach(), color.detach(), batch))


@torch.no_grad()
def mean_loss(
    estimate: Estimate,
    photos: TrainingViews,
    mask_weight: Tensor,
    scene: Callable[[int], Scene],
    count: int = 24,
) -> float:
    """The loss over some photos, evenly chosen; the same ones for every estimate.

    Args:
        scene: maps a photo to the scene that is compared with it.
    """
    chosen = sorted({i * len(photos) // count for i in range(count)})
    values = [_compare(estimate, photos, [i], mask_weight, scene(i))[0].item() for i in chosen]
    return sum(values) / len(values)


def _compare(
    estimate: Estimate, photos: TrainingViews, chosen: list[int], mask_weight: Tensor, scene: Scene
) -> tuple[Tensor, Tensor, Batch]:
    """The loss of some photos, what was rendered, and the photos."""
    batch = photos.batch(chosen)
    camera = estimate.cameras(batch.camera, chosen)
    seen = render(scene, camera, outputs=("color", "alpha"))
    assert seen.color is not None and seen.alpha is not None
    color = losses.photometric(seen.color, batch.color, (batch.mask > SURE) * batch.known)
    weight = batch.known * mask_weight[chosen, None, None]
    return color + losses.silhouette(seen.alpha, batch.mask, weight), seen.color, batch


def _measure(loss: Tensor, color: Tensor, batch: Batch) -> tuple[float, float]:
    """The loss, and the PSNR inside the masks, dB."""
    error = (srgb_from_linear(color.clamp(0, 1)) - batch.color).square().mean(-1)
    inside = batch.mask > SURE
    mean = float((error * inside).sum() / inside.sum().clamp_min(1))
    return float(loss), -10 * math.log10(max(mean, 1e-10))


def diagonal(mesh: Mesh) -> float:
    """Length of the bounding box's diagonal, world units."""
    vertices = mesh.vertices
    return float((vertices.amax(0) - vertices.amin(0)).norm())


def photos_for(photos: Sequence[TrainingView], stage: Stage, mesh: Mesh) -> TrainingViews:
    """The photos at a scale that makes the object's windows about as large as the stage asks."""
    sizes = []
    for photo in photos:
        pixels, _ = photo.camera.project(mesh.vertices)
        sizes.append(float((pixels.amax(0) - pixels.amin(0)).max()))
    return TrainingViews(photos, min(1.0, stage.window / max(sizes)))


def retriangulate(scene: Scene, edge: float) -> Scene:
    """New triangles; every new vertex takes the colour of the nearest old one."""
    from scipy.spatial import KDTree

    (thing,) = scene.objects
    fresh = remesh(thing.mesh, edge)
    _, nearest = KDTree(thing.mesh.vertices.numpy()).query(fresh.vertices.numpy())
    material = replace(thing.material, albedo=thing.material.albedo[torch.from_numpy(nearest)])
    return replace(scene, objects=(Object(fresh, thing.world_from_object, material),))


def texture_side(photos: Sequence[TrainingView]) -> int:
    """Side of a texture that holds about as much detail as the photos show, texels.

    The silhouettes of a convex body cover a quarter of its surface on average (Cauchy's formula),
    which gives the surface in pixels.
    """
    shown = sum(float((photo.mask > 127).sum()) for photo in photos) / len(photos)
    return round(min(max((4 * shown * TEXELS_PER_PIXEL / FILL) ** 0.5, 64), 4096))


def bake_texture(scene: Scene, size: int) -> Scene:
    """Give an object a texture atlas that takes over the appearance of its vertices.

    Between vertices albedo's coordinates are interpolated, not albedo itself: edges between colours
    are sharper then, and the descent needs fewer steps.
    """
    from scipy.ndimage import distance_transform_edt

    (thing,) = scene.objects
    mesh, (height, width) = unwrap(thing.mesh, size)
    assert mesh.uv is not None and mesh.uv_faces is not None
    corners = torch.cat([mesh.uv * torch.tensor([width, height]), torch.ones(len(mesh.uv), 1)], -1)
    fragments = rasterize(corners[None], mesh.texture_topology, height, width)
    coordinates = DOMAINS[ALBEDO].local(thing.material.albedo)
    baked = interpolate(coordinates[None], mesh.topology, fragments)[0]
    nearest = distance_transform_edt(
        (fragments.face[0] < 0).numpy(), return_distances=False, return_indices=True
    )
    rows, columns = torch.from_numpy(np.asarray(nearest)).long()
    everywhere = (height, width, 1)
    material = Material(
        albedo=DOMAINS[ALBEDO].retract(baked[rows, columns]),
        roughness=thing.material.roughness.expand(everywhere),
        metallic=thing.material.metallic.expand(everywhere),
        albedo_kind="texture",
        roughness_kind="texture",
        metallic_kind="texture",
    )
    return replace(scene, objects=(Object(mesh, thing.world_from_object, material),))
