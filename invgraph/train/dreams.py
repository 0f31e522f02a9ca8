"""Dreams: images of scenes drawn from a prior, whose causes are therefore known."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.rendering import harmonics
from invgraph.rendering.render import render
from invgraph.rendering.visibility import visibility
from invgraph.scene import Scene, SphericalHarmonicLight
from invgraph.scene.prior import Prior

DIRECTIONS, SHADOW_PX = 128, 128  # of light that an object may keep from itself; of shadow maps
FOCAL = (1.0, 3.5)  # of the lenses, in image sides
ABSENT = 0.1  # share of the images without the object
HIDDEN = 0.3  # share of the images in which something is in front of it
MOST_HIDDEN = 0.4  # of the image's width
SEEN = 0.3  # share of an object that is visible at least where it is said to be present
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


@torch.no_grad()
def dream(prior: Prior, count: int, side: int, generator: torch.Generator) -> Dreams:
    """Draw scenes from a prior, render them, and photograph them as a plain camera would.

    The object stands before noise of many scales, sometimes behind something, in the light that the
    prior gave it; exposure, white balance, tone curve, blur and noise are those of some camera.
    """
    focal = _uniform(count, 1, generator, *map(math.log, FOCAL)).exp() * side
    middle = torch.full((count, 2), side / 2)
    lens = Lens(focal.expand(count, 2), middle, side, side)
    values = prior.given(lens).sample(count, generator)
    drawn = render(
        with_lamp(prior.scene(values), generator),
        Camera(lens, torch.eye(4).expand(count, 4, 4)),
        outputs=("color", "alpha"),
    )
    assert drawn.color is not None and drawn.alpha is not None
    present = torch.rand(count, generator=generator) >= ABSENT
    shown = (drawn.alpha * present[:, None, None])[:, None]
    # The object as bright as a camera would expose it.
    color = drawn.color.movedim(-1, 1)
    level = (color * shown).sum((1, 2, 3)) / (3 * shown.sum((1, 2, 3))).clamp_min(1)
    color = color * (0.25 / level.clamp_min(1e-3))[:, None, None, None]
    scene = clutter(count, side, generator) * (1 - shown) + color * present[:, None, None, None]
    behind = (torch.rand(count, generator=generator) < HIDDEN).nonzero()[:, 0]
    before = clutter(len(behind), side, generator)
    hider = _hider(len(behind), side, generator)
    scene[behind] = torch.where(hider, before, scene[behind])
    left = (shown[behind] * ~hider).sum((1, 2, 3)) / shown[behind].sum((1, 2, 3)).clamp_min(1)
    present[behind] &= left >= SEEN
    return Dreams(photograph(scene.clamp_min(0), generator), lens, values, present)


def with_shadows(prior: Prior) -> Prior:
    """A prior whose objects keep light from themselves, as things do.

    Descent does without: it takes two thirds longer with shadows, and ends as near.
    """
    objects = []
    for item in prior.template.objects:
        table = visibility(item.mesh, DIRECTIONS, SHADOW_PX)
        objects.append(replace(item, visibility=table))
    return replace(prior, template=replace(prior.template, objects=tuple(objects)))


def with_lamp(scene: Scene, generator: torch.Generator) -> Scene:
    """A scene whose light is sharper, as if part of it came from one lamp.

    The prior's light is smooth. Lamps and the sun cast shadows with borders: to light of order 2
    this adds, in orders 3 and 4, a random share of what a lamp has that shines from where most
    light comes from. Nothing is believed about it.
    """
    [light] = scene.lights
    assert isinstance(light, SphericalHarmonicLight)
    first = light.coefficients[:, 1:4]
    middle = first.mean(-1)
    toward = middle[:, [2, 0, 1]] / middle.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    lamp = harmonics.basis(toward, harmonics.MAX_ORDER)[..., None]
    strength = (first * lamp[:, 1:4]).sum(1, keepdim=True) / lamp[:, 1:4].square().sum(1, True)
    share = torch.rand(len(first), 1, 1, generator=generator)
    sharper = torch.cat([light.coefficients, share * strength * lamp[:, 9:]], 1)
    return replace(scene, lights=(replace(light, coefficients=sharper),))


def clutter(count: int, side: int, generator: torch.Generator) -> Float[Tensor, "n 3 s s"]:
    """What may be anywhere: patches, gradients and noise in related colours, linear."""
    base = _uniform(count, 3, generator, math.log(0.02), math.log(0.8)).exp()[..., None, None]
    other = _uniform(count, 3, generator, math.log(0.02), math.log(0.8)).exp()[..., None, None]
    pattern = torch.zeros(count, 1, 1, 1)
    cells = 2
    while cells <= side:
        strength = _uniform(count, 1, generator, 0.0, cells**-0.5)[..., None, None]
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


def _hider(count: int, side: int, generator: torch.Generator) -> Bool[Tensor, "n 1 s s"]:
    """Where something is in front: a strip or wedge that comes in from a side."""
    angle = _uniform(count, 1, generator, 0.0, 2 * math.pi)
    reach = 0.5 - _uniform(count, 1, generator, 0.0, MOST_HIDDEN)
    bend = _uniform(count, 1, generator, -1.5, 1.5)
    at = (torch.arange(side) + 0.5) / side - 0.5
    y, x = torch.meshgrid(at, at, indexing="ij")
    along = angle.cos()[..., None] * x + angle.sin()[..., None] * y
    aside = angle.cos()[..., None] * y - angle.sin()[..., None] * x
    return (along + bend[..., None] * aside.square() > reach[..., None])[:, None]


def photograph(
    scene: Float[Tensor, "n 3 s s"], generator: torch.Generator
) -> Float[Tensor, "n 3 s s"]:
    """Linear light as some camera shows it: about sRGB, in [0, 1]."""
    # A few images at a time stay in the processor's cache.
    return torch.cat([_photograph(part, generator) for part in scene.split(_AT_ONCE)])


def _photograph(scene: Tensor, generator: torch.Generator) -> Tensor:
    count = len(scene)

    def each(low: float, high: float, channels: int = 1) -> Tensor:
        return _uniform(count, channels, generator, low, high)[..., None, None]

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


def _uniform(
    count: int, channels: int, generator: torch.Generator, low: float, high: float
) -> Float[Tensor, "n c"]:
    return low + (high - low) * torch.rand(count, channels, generator=generator)
