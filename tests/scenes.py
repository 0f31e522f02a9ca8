"""Small scenes that several test files render."""

import math

import torch

from invgraph.geometry import mesh, primitives, transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.scene import Material, Object, Scene


def camera(size: int = 48, batch: tuple[int, ...] = (), seed: int = 0) -> Camera:
    """Cameras a little off the axes that look at the origin from about three units away."""
    generator = torch.Generator().manual_seed(seed)
    eye = torch.tensor([0.6, 0.8, -2.8]) + 0.3 * torch.randn(*batch, 3, generator=generator)
    pose = transforms.look_at(eye, torch.zeros(3), torch.tensor([0.0, 1.0, 0.0]))
    focal = torch.full((*batch, 2), 1.2 * size)
    principal = torch.tensor([0.47 * size, 0.52 * size]).expand(*batch, 2)
    return Camera(Lens(focal, principal, size, size), pose)


def material(albedo=(0.7, 0.4, 0.2), roughness=0.5, metallic=0.0) -> Material:
    """A constant material."""
    return Material(torch.tensor(albedo), torch.tensor([roughness]), torch.tensor([metallic]))


def ball(made_of: Material | None = None, rows: int = 48) -> Object:
    """A unit sphere with uv."""
    return Object(primitives.uv_sphere(rows, 2 * rows), torch.eye(4), made_of or material())


def ball_and_ring(*lights, background=None) -> Scene:
    """A textured ball through a tilted ring with colours at its vertices."""
    generator = torch.Generator().manual_seed(1)
    texture = torch.rand(16, 32, 3, generator=generator)
    rough = 0.2 + 0.6 * torch.rand(16, 32, 1, generator=generator)
    inside = primitives.uv_sphere(24, 48)
    inside = mesh.Mesh(0.6 * inside.vertices, inside.faces, inside.uv, inside.uv_faces)
    ring = primitives.torus(1.0, 0.15, 16, 48)
    tilt = transforms.exp_se3(torch.tensor([0.0, 0, 0, 0.5, 0.3, 0]))
    colors = torch.rand(ring.vertices.shape[0], 3, generator=generator)
    return Scene(
        (
            Object(
                inside, torch.eye(4), Material(texture, rough, torch.zeros(1), "texture", "texture")
            ),
            Object(ring, tilt, Material(colors, torch.tensor([0.4]), torch.ones(1), "vertex")),
        ),
        lights,
        background,
    )


def ring_of_cameras(count: int, size: int = 96) -> list[Camera]:
    """Cameras around the origin, at distance 4, some above and some below."""
    cameras = []
    for i in range(count):
        angle = 2 * math.pi * i / count
        eye = torch.tensor([4 * math.cos(angle), 4 * math.sin(angle), 2.5 * math.sin(2.3 * i)])
        pose = transforms.look_at(eye, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
        focal, principal = torch.full((2,), 1.4 * size), torch.full((2,), size / 2)
        cameras.append(Camera(Lens(focal, principal, size, size), pose))
    return cameras
