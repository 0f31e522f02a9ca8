"""A film of an object that turns about its vertical axis in the light that was inferred."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from invgraph.files.atomic import write_atomically
from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import srgb_from_linear
from invgraph.rendering.render import render
from invgraph.report.film import encode_film
from invgraph.runs.reader import SCENES, TURNTABLE, read_cameras
from invgraph.runs.scene_records import best_of, read_records
from invgraph.scene import Scene
from invgraph.scene.scene_files import load_scene

VIEW = "view"  # split of the camera that looks at the object
VIEWS, RATE = 96, 24
BATCH = 8
LOW, HIGH = 0.03, 0.09  # linear grey of the backdrop, above and below


def turntable(scene: Scene, camera: Camera, beside: np.ndarray) -> bytes:
    """An mp4: a picture, and beside it the scene in which everything but the object stands still.

    Args:
        scene: one object, y up in its own frame; its light is fixed in the world.
        camera: that looks at it, square.
        beside: ``h w 3`` bytes of the camera's size.

    Raises:
        ImportError: PyAV is not installed.
    """
    return encode_film(_pictures(scene, camera, beside), RATE)


@torch.no_grad()
def _pictures(scene: Scene, camera: Camera, beside: np.ndarray) -> Iterator[np.ndarray]:
    [thing] = scene.objects
    backdrop = torch.linspace(LOW, HIGH, camera.height)[:, None, None].expand(-1, camera.width, 3)
    middle = (thing.mesh.vertices.amin(0) + thing.mesh.vertices.amax(0)) / 2
    angles = torch.arange(VIEWS) * (2 * math.pi / VIEWS)
    for part in angles.split(BATCH):
        spin = transforms.exp_so3(part[:, None] * torch.tensor([0.0, 1.0, 0.0]))
        turned = _about(middle, spin)
        moved = replace(thing, world_from_object=thing.world_from_object @ turned)
        shown = replace(scene, objects=(moved,), background=None)
        drawn = render(shown, camera, outputs=("color", "alpha"))
        assert drawn.color is not None and drawn.alpha is not None
        color = drawn.color + (1 - drawn.alpha[..., None]) * backdrop
        for picture in (srgb_from_linear(color.clamp(0, 1)) * 255).round().byte().numpy():
            yield np.concatenate([beside, picture], 1)


def _about(middle: Tensor, spin: Tensor) -> Tensor:
    """Rotations about an axis through a point."""
    return transforms.pose(spin, middle - (spin @ middle))


def write_turntable(run: Path) -> bool:
    """Write ``turntable.mp4`` of a run of inferred scenes, of the photo that shows it most surely.

    Returns:
        Whether there is a film now: False if the object was found nowhere, or files lack.

    Raises:
        ImportError: PyAV is not installed.
    """
    from PIL import Image

    best = best_of(read_records(run / SCENES))
    looking = [record.camera for record in read_cameras(run) if record.split == VIEW]
    if best is None or not looking:
        return False
    camera = looking[-1].to(torch.float32)
    picture = run / "renders" / f"{best.stem}_view.png"
    try:
        scene = load_scene(run)
        with Image.open(picture, formats=("PNG",)) as image:
            beside = np.asarray(image.convert("RGB").resize((camera.width, camera.height)))
    except (OSError, ValueError):
        return False
    write_atomically(run / TURNTABLE, turntable(scene, camera, beside))
    return True
