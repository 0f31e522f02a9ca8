"""A small run folder made by hand, for the tests of the report."""

import json
import math
from pathlib import Path

import numpy as np
import torch
import trimesh
from PIL import Image

from invgraph.data.depth_files import encode_depth
from invgraph.data.point_files import encode_points
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.mesh import Mesh
from invgraph.runs.facts import Kind, RunFacts
from invgraph.runs.folder import RunFolder, file_stem
from invgraph.runs.reader import CameraRecord
from invgraph.scene import Material, Object, Scene, SphericalHarmonicLight
from invgraph.scene.scene_files import save_scene


def look_at(eye: np.ndarray) -> np.ndarray:
    """``camera_from_world`` of a camera at ``eye`` that looks at the origin, world up = +z."""
    forward = -eye / np.linalg.norm(eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, -rotation @ eye
    return matrix


def record(
    name: str, split: str, camera_from_world: np.ndarray, focal: tuple[float, float]
) -> CameraRecord:
    """A camera of 80x100 (h x w) pixels."""
    principal = torch.tensor([50.0, 40.0], dtype=torch.float64)
    lens = Lens(torch.tensor(focal, dtype=torch.float64), principal, 80, 100)
    return CameraRecord(name, split, Camera(lens, torch.from_numpy(camera_from_world)))


def torus_scene(side: int = 64) -> Scene:
    """A torus, red above and green below, under a light from the sky (world up = +z)."""
    mesh = trimesh.creation.torus(1.0, 0.4, major_sections=48, minor_sections=24)
    angle = np.arctan2(mesh.vertices[:, 1], mesh.vertices[:, 0]) / (2 * math.pi) + 0.5
    uv = np.stack([angle, np.clip(mesh.vertices[:, 2] + 0.5, 0, 1)], -1)
    y, x = np.mgrid[0:side, 0:side]
    checker = ((x * 8 // side + y * 8 // side) % 2)[..., None]
    colour = np.where(y[..., None] < side // 2, [200, 70, 50], [60, 150, 90])
    texture = colour * (0.6 + 0.4 * checker) / 255
    # Order 0, then y, z, x: white from above, a little orange from +x.
    light = torch.zeros(4, 3)
    light[0], light[2], light[3] = 2.4, 1.2, torch.tensor([0.5, 0.25, 0.0])
    faces = torch.from_numpy(np.ascontiguousarray(mesh.faces, dtype=np.int32))
    return Scene(
        objects=(
            Object(
                geometry=Mesh(
                    vertices=torch.tensor(mesh.vertices, dtype=torch.float32),
                    faces=faces,
                    uv=torch.tensor(uv, dtype=torch.float32),
                    uv_faces=faces,
                ),
                world_from_object=torch.eye(4),
                material=Material(
                    albedo=torch.tensor(texture, dtype=torch.float32),
                    roughness=torch.tensor([0.5]),
                    metallic=torch.tensor([0.0]),
                    albedo_kind="texture",
                ),
            ),
        ),
        lights=(SphericalHarmonicLight(light),),
        background=None,
    )


def begin_run(folder: Path, kind: Kind = "object") -> Path:
    """Fill ``folder`` like a run that was killed soon after it began."""
    with RunFolder(folder, RunFacts(kind, "torus", "torus")) as run:
        run.write("log.csv", b"step,seconds,stage,loss,psnr_db\n0,0.1,hull,0.5,10\n1,0.")
    return folder


def write_run(
    folder: Path, names: list[str] | None = None, size: int = 96, frames: int = 24
) -> Path:
    """Fill ``folder`` like a finished fit; ``names`` are those of the held-out photos."""
    names = names or ["photo_000", "photo_008", "photo_016"]
    with RunFolder(folder, RunFacts("object", "torus", "torus")) as run:
        run.write_json("metrics.json", {})
    renders = folder / "renders"
    y, x = np.mgrid[0:size, 0:size] / size
    for index, name in enumerate(names):
        photo = np.stack([x, y, np.full_like(x, index / len(names))], -1)
        disc = ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.16)[..., None]
        for role, image in (
            ("photo", photo * disc),
            ("render", np.round(photo * 8) / 8 * disc),
            ("difference", np.abs(photo - np.round(photo * 8) / 8) * disc * 8),
        ):
            pixels = Image.fromarray((image * 255).astype(np.uint8))
            pixels.save(renders / f"{file_stem(8 * index, name)}_{role}.png")
        depth = torch.from_numpy((2.5 + x) * disc[..., 0])
        (renders / f"{file_stem(8 * index, name)}_depth.png").write_bytes(
            encode_depth(depth.float())
        )
    ball = np.clip(1 - 2 * ((x - 0.4) ** 2 + (y - 0.35) ** 2), 0, 1)
    for file in ("light_ball.png", "preview_0.png", "preview_100.png", "preview_200.png"):
        Image.fromarray((ball * 255).astype(np.uint8)).save(renders / file)
    metrics = {
        "capture": "torus",
        "psnr_mask_db": 31.4159,
        "ssim_mask": 0.962,
        "mask_iou": 0.9871,
        "seconds": 283.0,
        "chamfer_pct": 0.412,
        "light_angle_deg": 3.2,
        "vertices": 40962,
        "views": [
            {"name": name, "split": "test", "psnr_mask_db": 30.5 + index, "mask_iou": 0.98}
            for index, name in enumerate(names)
        ],
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    rows = ["step,seconds,stage,loss,psnr_db,vertices"]
    for step in range(400):
        stage = ("hull", "shape", "texture")[step // 134]
        noise = 0.1 * math.sin(12.9898 * step * step)
        loss = (0.3 * math.exp(-(step % 134) / 40) + 0.01) / (1 + step // 134) * (1 + noise)
        psnr = 31 - 14 * math.exp(-step / 120) + 3 * noise
        rows.append(f"{step},{step * 0.7:.2f},{stage},{loss:.6f},{psnr:.3f},{2562}")
    (folder / "log.csv").write_text("\n".join(rows) + "\n")
    poses = []
    held_out = {8 * index: name for index, name in enumerate(names)}
    for index in range(frames):
        turn, tilt = index * 2 * math.pi / frames, 0.5 + 0.3 * math.sin(3 * index)
        eye = 4 * np.array(
            [
                math.cos(turn) * math.cos(tilt),
                math.sin(turn) * math.cos(tilt),
                math.sin(tilt),
            ]
        )
        poses.append(
            {
                "name": held_out.get(index, f"photo_{index:03d}"),
                "split": "test" if index in held_out else "train",
                "camera_from_world": look_at(eye).tolist(),
                "focal": [120.0, 120.0],
                "principal": [48.0, 48.0],
                "height": 96,
                "width": 96,
            }
        )
    (folder / "cameras.json").write_text(json.dumps({"frames": poses}))
    scene = torus_scene()
    (folder / "points.ply").write_bytes(encode_points(scene.objects[0].mesh.vertices[::4]))
    save_scene(scene, folder)
    return folder
