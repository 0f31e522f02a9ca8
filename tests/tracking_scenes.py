"""A painted cube on a textured background, as something to find."""

from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from invgraph.fitting.pose import KnownObject, make_object
from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import linear_from_srgb
from invgraph.geometry.lens import Lens
from invgraph.geometry.mesh import Mesh
from invgraph.geometry.primitives import cube
from invgraph.geometry.subdivision import split_finely
from invgraph.rendering.render import render
from invgraph.scene import BackgroundImage, Material, Object, Scene, SphericalHarmonicLight

HEIGHT, WIDTH = 120, 160
LIGHT = SphericalHarmonicLight(
    torch.tensor([[2.6] * 3, [-0.9] * 3, [-0.5] * 3, [0.4] * 3]), "camera"
)
FACES = torch.tensor(
    [
        [0.80, 0.10, 0.08],
        [0.10, 0.60, 0.15],
        [0.08, 0.15, 0.75],
        [0.85, 0.75, 0.08],
        [0.75, 0.15, 0.70],
        [0.10, 0.70, 0.70],
    ]
)


def view(height: int = HEIGHT, width: int = WIDTH) -> Camera:
    middle = torch.tensor([width / 2, height / 2])
    return Camera(Lens(torch.tensor([190.0, 190.0]), middle, height, width), torch.eye(4))


def box(size: float = 0.1) -> Mesh:
    """A cube around the origin of edges this long, m."""
    mesh = cube()
    middle = (mesh.vertices.amax(0) + mesh.vertices.amin(0)) / 2
    unit = float((mesh.vertices.amax(0) - mesh.vertices.amin(0))[0])
    return Mesh((mesh.vertices - middle) * (size / unit), mesh.faces)


def painted_cube(size: float = 0.1) -> KnownObject:
    """A cube with a colour per side, and on each side a bright spot off its middle."""
    mesh = split_finely(box(size), size / 30, 50_000)
    where = mesh.vertices / (size / 2)
    axis = where.abs().argmax(1)
    side = 2 * axis + (where.gather(1, axis[:, None])[:, 0] > 0).long()
    spot = torch.tensor([[0.5, 0.4, -0.3]]).expand_as(where).scatter(1, axis[:, None], 0.0)
    flat = where.scatter(1, axis[:, None], 0.0)
    color = FACES[side]
    color = torch.where(((flat - spot).norm(dim=1) < 0.35)[:, None], 0.85, color)
    return make_object(mesh, color, "cube")


def backdrop(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    """A clutter of dull colours, linear RGB."""
    random = np.random.default_rng(seed)
    rough = np.zeros((height, width, 3))
    for sigma in (1.5, 4, 10):
        noise = random.normal(size=rough.shape)
        rough += ndimage.gaussian_filter(noise, (sigma, sigma, 0)) * sigma
    srgb = np.clip(0.45 + 0.12 * rough / rough.std(), 0.05, 0.9) * [1.0, 0.97, 0.9]
    return linear_from_srgb(torch.from_numpy(srgb.astype(np.float32)))


def pose_at(turn: tuple[float, float, float], place: tuple[float, float, float]) -> torch.Tensor:
    """``camera_from_object`` from a rotation vector, rad, and the object's origin, m."""
    return transforms.pose(transforms.exp_so3(torch.tensor(turn)), torch.tensor(place))


def photo(
    model: KnownObject, pose: torch.Tensor, camera: Camera, behind: torch.Tensor
) -> torch.Tensor:
    """What the camera sees, linear RGB, with a little noise."""
    material = Material(torch.tensor([0.7, 0.3, 0.1]), torch.ones(1), torch.zeros(1))
    if model.albedo is not None:
        material = replace(material, albedo=model.albedo, albedo_kind="vertex")
    color = render(
        Scene((Object(model.mesh, pose, material),), (LIGHT,), BackgroundImage(behind)),
        camera,
        outputs=("color",),
    ).color
    assert color is not None
    noise = torch.randn(color.shape, generator=torch.Generator().manual_seed(0))
    return (color + 0.004 * noise).clamp(0, 1)
