"""Pictures of an inferred scene: its surface, its light on a ball, and what else it may be."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from invgraph.geometry.camera import Camera
from invgraph.geometry.color import srgb_from_linear
from invgraph.geometry.lens import Lens
from invgraph.rendering import harmonics
from invgraph.rendering.render import render
from invgraph.report.depth_view import LEVELS, colours
from invgraph.scene import Scene

BACKDROP = 0.075  # sRGB, behind maps
DIM = 0.3  # of the photo where the object is not
GAIN = 3.0  # of differences
BALL, ROOM = 320, 0.68  # pixels of the light's picture; the ball's share of them
WHITE = 0.8  # albedo of the ball
DOT, MEAN = (255, 170, 50), (64, 240, 140)
HEATED, HOTTEST = 0.6, 0.8  # of the photo below a heat map; most opacity of heat
Picture = UInt8[np.ndarray, "h w 3"]


def to_bytes(picture: np.ndarray | Tensor) -> Picture:
    """8-bit levels of display colours."""
    return (np.clip(np.asarray(picture), 0, 1) * 255).round().astype(np.uint8)


def display(linear: Float[Tensor, "*b h w 3"]) -> np.ndarray:
    """Display colours of linear ones."""
    return srgb_from_linear(linear.clamp(0, 1)).numpy()


def pinhole(lens: Lens) -> Camera:
    """A camera in the origin."""
    return Camera(lens, torch.eye(4))


@torch.no_grad()
def surface_pictures(
    scene: Scene, lens: Lens, view: Float[Tensor, "h w 3"]
) -> tuple[dict[str, Picture], tuple[float, float]]:
    """What a scene says of every pixel of a view.

    Args:
        scene: its world is the view's frame.
        lens: of the view.
        view: linear RGB.

    Returns:
        The pictures ``view``, ``synthesis``, ``gap`` (the difference, magnified), ``distance``
        (near is light), ``normal``, ``albedo``; and the range of the distances, metres along the
        axis.
    """
    outputs = ("color", "alpha", "depth", "normal", "albedo")
    drawn = render(replace(scene, background=None), pinhole(lens), outputs=outputs)
    assert drawn.color is not None and drawn.alpha is not None and drawn.albedo is not None
    assert drawn.depth is not None and drawn.normal is not None
    shot, alpha = display(view), drawn.alpha.clamp(0, 1)[..., None].numpy()
    behind = np.full_like(shot, BACKDROP)
    color = display(drawn.color / drawn.alpha[..., None].clamp_min(1e-3))
    dim = DIM * shot.mean(-1, keepdims=True).repeat(3, -1)
    inside = (drawn.depth > 0).numpy()
    depth = drawn.depth.numpy()
    near, far = (
        (float(x) for x in (depth[inside].min(), depth[inside].max()))
        if inside.any()
        else (
            0.0,
            1.0,
        )
    )
    part = np.clip((far - depth) / max(far - near, 1e-9), 0, 1)
    levels = colours()[(part * (LEVELS - 1)).round().astype(int)] / 255
    # To the right, up, towards the camera: as other programs colour them.
    normal = 0.5 + 0.5 * drawn.normal.numpy() * (1, -1, -1)
    albedo = display(drawn.albedo / drawn.alpha[..., None].clamp_min(1e-3))
    pictures = {
        "view": shot,
        "synthesis": alpha * color + (1 - alpha) * dim,
        "gap": np.where(alpha > 0.5, GAIN * np.abs(color - shot), dim),
        "distance": np.where(inside[..., None], levels, behind),
        "normal": np.where(inside[..., None], normal, behind),
        "albedo": alpha * albedo + (1 - alpha) * behind,
    }
    return {role: to_bytes(picture) for role, picture in pictures.items()}, (near, far)


@torch.no_grad()
def ghosts(scenes: Scene, lens: Lens, view: Float[Tensor, "h w 3"]) -> Picture:
    """The mean of many scenes' renders over a dim view: sharp where they agree.

    Args:
        scenes: a batch with one axis; their world is the view's frame.
        lens: of the view.
        view: linear RGB.
    """
    drawn = render(replace(scenes, background=None), pinhole(lens), outputs=("color", "alpha"))
    assert drawn.color is not None and drawn.alpha is not None
    alpha = drawn.alpha.clamp(0, 1)[..., None]
    color = display(drawn.color / alpha.clamp_min(1e-3))
    dim = DIM * display(view).mean(-1, keepdims=True)
    covered = alpha.numpy()
    return to_bytes((covered * color + (1 - covered) * dim).mean(0))


def light_ball(
    coefficients: Float[Tensor, "9 3"],
    towards: Float[Tensor, "3"],
    others: Float[Tensor, "n 3"],
) -> Picture:
    """A matt white ball under a light, with marks where most light comes from.

    Marks in front of the ball are filled, those behind it are rings.

    Args:
        coefficients: spherical harmonics in the frame of the camera.
        towards: where the likeliest light mostly comes from, any length.
        others: the same of other lights.
    """
    from PIL import Image, ImageDraw

    half = BALL / 2
    radius = ROOM * half
    across = (torch.arange(BALL) + 0.5 - half) / radius
    v, u = torch.meshgrid(across, across, indexing="ij")
    square = u * u + v * v
    normal = torch.stack([u, v, -(1 - square).clamp_min(0).sqrt()], -1)
    normal = normal / normal.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    irradiance = harmonics.irradiance_coefficients(coefficients.float())
    shade = WHITE / np.pi * harmonics.evaluate(irradiance, normal.reshape(-1, 3))
    shade = shade.reshape(BALL, BALL, 3).clamp_min(0)
    shade = shade / shade[square < 1].max().clamp_min(1.0)
    edge = ((1 - square.sqrt()) * radius + 0.5).clamp(0, 1)[..., None].numpy()
    image = Image.fromarray(to_bytes(edge * display(shade) + (1 - edge) * BACKDROP))
    draw = ImageDraw.Draw(image, "RGBA")
    marks = [(way, DOT, 4, 110) for way in others.tolist()] + [(towards.tolist(), MEAN, 8, 255)]
    for way, color, size, opacity in marks:
        x, y, z = way
        length = max(float(np.sqrt(x * x + y * y + z * z)), 1e-9)
        # Equal steps of angle are equal steps from the middle to beyond the rim.
        angle = np.arccos(np.clip(-z / length, -1, 1)) / (np.pi / 2)
        reach = angle if angle <= 1 else 1 + (angle - 1) * (1 / ROOM - 1.06)
        flat = max(float(np.hypot(x, y)), 1e-9)
        at = half + radius * reach * np.array([x, y]) / flat
        box = (at[0] - size, at[1] - size, at[0] + size, at[1] + size)
        fill = (*color, opacity) if z <= 0 else None
        draw.ellipse(box, fill=fill, outline=(*color, opacity), width=2 if z > 0 else 1)
    return np.asarray(image)


def heat_over(picture: Picture, heat: Float[Tensor, "v u"], present: float) -> Picture:
    """A dim picture under the colours of where the object may be.

    Args:
        picture: sRGB.
        heat: density, of any size; its highest value gets the lightest colour.
        present: probability that the object is there at all; at 0 nothing is drawn.
    """
    height, width = picture.shape[:2]
    level = (heat / heat.max().clamp_min(1e-30)).sqrt()
    wide = torch.nn.functional.interpolate(level[None, None], (height, width), mode="bicubic")
    share = wide[0, 0].clamp(0, 1).numpy()
    color = colours()[(share * (LEVELS - 1)).round().astype(int)] / 255
    opacity = present * np.minimum(2 * share, HOTTEST)[..., None]
    dim = HEATED * picture.mean(-1, keepdims=True) / 255
    return to_bytes((1 - opacity) * dim + opacity * color)
