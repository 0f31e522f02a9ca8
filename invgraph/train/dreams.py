"""Dreams: images of scenes drawn from a prior, whose causes are therefore known."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from invgraph.fitting.scene.object_prior import LIGHT
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.tensor_tree import map_tensors
from invgraph.rendering.render import render
from invgraph.scene.distributions import PoseInView, Upright
from invgraph.scene.prior import Prior
from invgraph.train.lamp import with_lamp
from invgraph.train.randomness import log_uniform, uniform
from invgraph.train.surroundings import TEXELS, surrounded

FOCAL = (1.0, 3.5)  # of the lenses, in image sides
ABSENT = 0.1  # share of the images without the object
EXPOSED = 0.35  # linear level to which a camera brings what it looks at, give or take a factor of 2
DARK = 0.05  # mean radiance below which nothing is exposed brighter
PIECES = 4  # of one image in another
DARKEST, ON_TABLES = 0.02, 0.08  # colours, linear: of anything, and of tables
SEEN = 0.3  # share of an object that is visible at least where it is said to be present
_BRIGHTEST = 1e4  # linear, far above what any camera tells from white
_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class Dreams:
    """Images and what is in them.

    Attributes:
        images: sRGB in [0, 1].
        lens: one per image.
        values: of the prior's free tensors, by path.
        present: whether the object is in the image, and seen.
    """

    images: Float[Tensor, "b 3 s s"]
    lens: Lens
    values: dict[str, Tensor]
    present: Bool[Tensor, " b"]

    def places(self, path: str, radius: float) -> Float[Tensor, "b 3"]:
        """Where the object is and how large, as :class:`invgraph.scene.heat_map.HeatMap` has it.

        Args:
            path: of the object's pose.
            radius: of the ball about its origin, metres.
        """
        pixels, depth = self.lens.project(self.values[path][:, None, :3, 3])
        size = 2 * radius * self.lens.focal.mean(-1) / depth[:, 0]
        return torch.cat([pixels[:, 0], size.log()[:, None]], -1)


@dataclass(frozen=True, eq=False)
class Sights:
    """Scenes as they were rendered, before a camera photographs them.

    Attributes:
        light: linear RGB, exposed, in half precision, as many are kept; 0 where nothing is drawn.
        alpha: share of each pixel that something drawn covers.
        lens: one per image.
        values: of the prior's free tensors, by path.
        present: whether the object is in the image, and seen.
    """

    light: Float[Tensor, "b 3 s s"]
    alpha: Float[Tensor, "b 1 s s"]
    lens: Lens
    values: dict[str, Tensor]
    present: Bool[Tensor, " b"]

    @staticmethod
    def join(parts: Sequence["Sights"]) -> "Sights":
        """All of several, whose images are of one size."""
        focal = torch.cat([part.lens.focal for part in parts])
        principal = torch.cat([part.lens.principal for part in parts])
        return Sights(
            torch.cat([part.light for part in parts]),
            torch.cat([part.alpha for part in parts]),
            replace(parts[0].lens, focal=focal, principal=principal),
            {path: torch.cat([part.values[path] for part in parts]) for path in parts[0].values},
            torch.cat([part.present for part in parts]),
        )

    def __getitem__(self, part: slice) -> "Sights":
        return map_tensors(lambda tensor: tensor[part], self)

    def photographed(self, generator: torch.Generator) -> Dreams:
        """Before noise of many scales; white balance, curve, blur and noise of some camera."""
        behind = clutter(len(self.light), self.lens.width, generator) * (1 - self.alpha)
        images = photograph((behind + self.light).clamp_min(0), generator)
        return Dreams(images, self.lens, self.values, self.present)


def dream(prior: Prior, count: int, side: int, generator: torch.Generator) -> Dreams:
    """Draw scenes from a prior, render them, and photograph them as a plain camera would.

    Args:
        prior: of one object.
        count: of the dreams.
        side: of their images, pixels.
        generator: of all that is random.
    """
    return imagine(prior, count, side, generator).photographed(generator)


@torch.no_grad()
def imagine(prior: Prior, count: int, side: int, generator: torch.Generator) -> Sights:
    """Draw scenes from a prior and render them.

    The object is in the light that the prior gave it, most often on a table and among other things,
    sometimes behind one.

    Args:
        prior: of one object.
        count: of the scenes.
        side: of their images, pixels.
        generator: of all that is random.
    """
    focal = log_uniform(generator, count, *FOCAL) * side
    middle = torch.full((count, 2), side / 2)
    lens = Lens(focal.expand(count, 2), middle, side, side)
    camera = Camera(lens, torch.eye(4).expand(count, 4, 4))
    values = prior.given(lens).sample(count, generator)
    scene, lamp, together = with_lamp(prior.scene(values), generator)
    values = {**values, LIGHT: together}
    [item] = scene.objects
    alone = render(
        replace(scene, objects=(lamp.reaching(item),)),
        camera,
        outputs=("object_id", "normal", "albedo"),
    )
    item = replace(item, present=torch.rand(count, generator=generator) >= ABSENT)
    textures = pieces(clutter(count, TEXELS, generator, ON_TABLES), generator).movedim(1, -1)
    up = _up(prior, values, generator)
    scene = surrounded(replace(scene, objects=(item,)), lamp, up, textures, generator)
    drawn = render(scene, camera, outputs=("color", "alpha", "albedo", "normal", "object_id"))
    assert drawn.color is not None and drawn.alpha is not None and drawn.object_id is not None
    assert drawn.albedo is not None and drawn.normal is not None
    assert alone.object_id is not None and alone.normal is not None and alone.albedo is not None
    shown = drawn.object_id == 0
    present = shown.sum((1, 2)) > SEEN * (alone.object_id == 0).sum((1, 2))
    lit = lamp.reflected(lens, drawn.normal, drawn.albedo, shown, generator)
    color = drawn.color + torch.where(shown[..., None], alone.albedo, 1.0) * lit
    # As bright as a camera would expose it, which looks at the object and at everything.
    light = color.mean(-1)
    object_level = (light * shown).sum((1, 2)) / shown.sum((1, 2)).clamp_min(1)
    level = light.sum((1, 2)) / drawn.alpha.sum((1, 2)).clamp_min(1)
    level = torch.where(shown.any((1, 2)), (object_level * level).clamp_min(0).sqrt(), level)
    color = (color * (EXPOSED / level.clamp_min(DARK))[:, None, None, None]).movedim(-1, 1)
    color = color.clamp_max(_BRIGHTEST).half()
    return Sights(color, drawn.alpha[:, None].half(), lens, values, present)


def _up(
    prior: Prior, values: dict[str, Tensor], generator: torch.Generator
) -> Float[Tensor, "b 3"]:
    """The vertical in the camera's frame."""
    [(path, pose)] = [(p, d) for p, d in prior.distributions.items() if isinstance(d, PoseInView)]
    if isinstance(pose.rotation, Upright):
        return values[path][:, :3, 1]
    return Upright().sample(len(values[path]), generator)[..., 1]


def clutter(
    count: int, side: int, generator: torch.Generator, darkest: float = DARKEST
) -> Float[Tensor, "n 3 s s"]:
    """What may be anywhere: patches, gradients and noise in related colours, linear."""
    colors = log_uniform(generator, count, darkest, 0.8, 6)
    base, other = colors[..., None, None].chunk(2, 1)
    pattern = torch.zeros(count, 1, 1, 1)
    cells = 2
    while cells <= side:
        strength = uniform(generator, count, 0.0, cells**-0.5)[..., None, None]
        noise = torch.rand(count, 1, cells, cells, generator=generator)
        larger = interpolate(pattern, cells, mode="bilinear", align_corners=False)
        pattern = larger + strength * noise
        cells *= 2
    if cells // 2 < side:
        pattern = interpolate(pattern, side, mode="bilinear", align_corners=False)
    low, high = pattern.amin((2, 3), keepdim=True), pattern.amax((2, 3), keepdim=True)
    pattern = (pattern - low) / (high - low).clamp_min(1e-6)
    # Half of the patterns have sharp borders, as things have.
    steep = torch.where(torch.rand(count, 1, 1, 1, generator=generator) < 0.5, 1.0, 20.0)
    pattern = torch.sigmoid(steep * (4 * pattern - 2))
    return torch.lerp(base, other, pattern)


def pieces(
    images: Float[Tensor, "n 3 s s"], generator: torch.Generator
) -> Float[Tensor, "n 3 s s"]:
    """Images with pieces of one another in them, as papers lie on a table."""
    count, _, side, _ = images.shape
    at = ((torch.arange(side) + 0.5) / side).expand(2, count, side)
    for turn in range(1, PIECES + 1):
        middle, reach = (uniform(generator, 2 * count, 0.0, high) for high in (1.0, 0.2))
        rows, columns = (at - middle.unflatten(0, (2, -1))).abs() < reach.unflatten(0, (2, -1))
        there = (rows[:, None, :, None] & columns[:, None, None, :]).expand_as(images)
        images = torch.where(there, images.roll(turn, 0), images)
    return images


def photograph(
    scene: Float[Tensor, "n 3 s s"], generator: torch.Generator
) -> Float[Tensor, "n 3 s s"]:
    """Linear light as some camera shows it: about sRGB, in [0, 1]."""
    # A few images at a time stay in the processor's cache.
    return torch.cat([_photograph(part, generator) for part in scene.split(_AT_ONCE)])


def _photograph(scene: Tensor, generator: torch.Generator) -> Tensor:
    count = len(scene)

    def each(low: float, high: float, channels: int = 1) -> Tensor:
        return uniform(generator, count, low, high, channels)[..., None, None]

    soft = avg_pool2d(scene, 3, 1, 1, count_include_pad=False)
    scene = torch.lerp(scene, soft, each(-0.25, 0.6))  # blurred or sharpened
    exposure = each(math.log(0.5), math.log(2.0)).exp() * each(-0.15, 0.15, 3).exp()
    scene = (scene * exposure).clamp_min_(0)
    shown = scene.sqrt()  # with the curve below, about as cameras do
    # Noise that grows with the root of the light is alike everywhere in the root.
    shown += each(0.0, 0.03) * torch.randn(scene.shape, generator=generator)
    shown = shown.clamp_(0, 1)
    shown = shown + each(-0.3, 0.5) * shown * (1 - shown)  # tone curve
    grey = shown.mean(1, keepdim=True)
    return torch.lerp(grey, shown, each(0.7, 1.2)).clamp_(0, 1)
