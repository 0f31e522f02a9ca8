"""Make the embedded capture: photographs of a bird whistle that exists only as formulas.

Command: python assets/make_capture.py   (needs invgraph with its extra "mitsuba")
Runtime: about 20 CPU minutes, 10 on 2 idle cores.
Result:  assets/bird_whistle/, the same pictures up to the path tracer's rounding.

The path tracer is Mitsuba 3, not this project's renderer, so that fitting the photographs proves
something. Rays leave a lens with Brown distortion directly: no picture is resampled.
"""

import argparse
import io
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
OUT = HERE / "bird_whistle"
sys.path[:0] = [str(HERE), str(HERE.parent)]

import bird  # noqa: E402

from invgraph.rendering.backends.mitsuba import find_llvm  # noqa: E402


@dataclass(frozen=True)
class Settings:
    """Lengths in metres unless they say design units (of bird.py, decimetres)."""

    seed: int = 7
    cell: float = 0.020  # marching cubes, design units: about 44 thousand faces
    scale: float = 0.1  # metres per design unit
    texture: int = 1024
    roughness: float = 0.35
    size: int = 512
    focal: tuple[float, float] = (764.0, 762.5)
    principal: tuple[float, float] = (257.3, 254.1)
    distortion: tuple[float, ...] = (-0.085, 0.045, 0.0007, -0.0005)  # k1 k2 p1 p2
    distance: float = 0.37
    rings: tuple[tuple[int, float], ...] = ((14, 14), (11, 40), (8, -24), (4, 66), (3, -52))
    strata: int = 12  # samples per pixel: strata squared
    chunk: int = 12288  # pixels traced at once
    full_well: float = 9000.0  # electrons at white
    read_noise: float = 5.0  # electrons
    jpeg_quality: int = 93


S = Settings()


def build_shape() -> tuple[np.ndarray, np.ndarray]:
    """Vertices (design units) and faces of the zero level of the distance function."""
    from skimage.measure import marching_cubes

    low, high = np.array([-1.1, -0.75, -0.65]), np.array([1.05, 1.0, 0.65])
    axes = [np.arange(low[i], high[i], S.cell) for i in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    values = np.concatenate([bird.distance(grid[i : i + 1]) for i in range(len(grid))])
    vertices, faces, _, _ = marching_cubes(values, 0.0, spacing=(S.cell,) * 3)
    vertices = vertices.astype(np.float64) + low
    for step in range(8):
        if step < 6:
            vertices = vertices + 0.5 * (neighbour_mean(vertices, faces) - vertices)
        for _ in range(2):
            vertices = to_surface(vertices)
    return vertices, faces.astype(np.int64)


def neighbour_mean(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    total, count = np.zeros_like(vertices), np.zeros(len(vertices))
    for a, b in ((0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)):
        np.add.at(total, faces[:, a], vertices[faces[:, b]])
        np.add.at(count, faces[:, a], 1)
    return total / count[:, None]


def to_surface(vertices: np.ndarray) -> np.ndarray:
    """One damped Newton step towards the zero level."""
    h = 1e-3
    offsets = np.eye(3) * h
    plus = np.stack([bird.distance(vertices + o) for o in offsets], -1)
    minus = np.stack([bird.distance(vertices - o) for o in offsets], -1)
    slope = (plus - minus) / (2 * h)
    value = bird.distance(vertices)
    step = value[:, None] * slope / np.maximum((slope**2).sum(-1, keepdims=True), 0.25)
    return vertices - np.clip(step, -0.25 * S.cell, 0.25 * S.cell)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    normals = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(normals, faces[:, i], np.cross(b - a, c - a))
    return normals / np.linalg.norm(normals, axis=-1, keepdims=True)


def bake(vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Paint the texture: 8-bit sRGB, v = 0 on top; twice the resolution, averaged."""
    from scipy import ndimage

    side = 2 * S.texture
    corners = uv[faces] * side
    place = np.zeros((side, side, 3))
    covered = np.zeros((side, side), bool)
    for corner, position in zip(corners, vertices[faces], strict=True):
        low = np.maximum(np.floor(corner.min(0) - 0.5).astype(int), 0)
        high = np.minimum(np.ceil(corner.max(0) + 0.5).astype(int), side)
        x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
        matrix = np.array([corner[1] - corner[0], corner[2] - corner[0]]).T
        if abs(np.linalg.det(matrix)) < 1e-9:
            continue
        b = np.linalg.solve(matrix, np.stack([x - corner[0, 0], y - corner[0, 1]]).reshape(2, -1))
        inside = (b[0] >= -0.02) & (b[1] >= -0.02) & (b.sum(0) <= 1.02)
        rows, columns = y.ravel()[inside].astype(int), x.ravel()[inside].astype(int)
        b = b[:, inside]
        weights = np.stack([1 - b[0] - b[1], b[0], b[1]], -1)
        place[rows, columns] = weights @ position
        covered[rows, columns] = True
    color = np.zeros((side, side, 3))
    color[covered] = bird.paint(place[covered])
    nearest = ndimage.distance_transform_edt(~covered, return_distances=False, return_indices=True)
    color = color[tuple(nearest)].reshape(S.texture, 2, S.texture, 2, 3).mean((1, 3))
    return encode(color)


def encode(linear: np.ndarray) -> np.ndarray:
    """8-bit sRGB of linear values."""
    linear = np.clip(linear, 0, 1)
    curved = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.round(np.where(linear <= 0.0031308, 12.92 * linear, curved) * 255).astype(np.uint8)


def environment(height: int = 64) -> np.ndarray:
    """A studio: a large warm softbox, a cool one opposite, a low rim light, a shaded floor.

    Equirectangular, top row +y, left edge -z, a quarter to the right +x.
    """
    polar = (np.arange(height) + 0.5) * np.pi / height
    azimuth = (np.arange(2 * height) + 0.5) * np.pi / height
    x = np.sin(polar)[:, None] * np.sin(azimuth)
    y = np.broadcast_to(np.cos(polar)[:, None], x.shape)
    z = -np.sin(polar)[:, None] * np.cos(azimuth)
    direction = np.stack([x, y, z], -1)
    up = (0.5 + 0.5 * y)[..., None]
    light = (1 - up) * np.array([0.20, 0.18, 0.16]) + up * np.array([0.46, 0.49, 0.54])
    for toward, sharpness, color in (
        ((0.62, 0.66, 0.42), 14.0, (5.0, 4.6, 4.1)),
        ((-0.75, 0.35, -0.55), 6.0, (1.15, 1.32, 1.55)),
        ((-0.20, -0.25, 0.95), 7.0, (0.50, 0.44, 0.36)),
    ):
        toward = np.array(toward) / np.linalg.norm(toward)
        light = light + np.exp(sharpness * (direction @ toward - 1))[..., None] * np.array(color)
    return light.astype(np.float32)


def cameras() -> list[np.ndarray]:
    """camera_from_world matrices (OpenCV axes): rings with a hand's unsteadiness."""
    rng = np.random.default_rng(S.seed)
    poses = []
    for ring, (count, elevation) in enumerate(S.rings):
        for i in range(count):
            azimuth = np.radians(28 + 360 * (i + 0.37 * ring) / count + rng.normal(0, 3))
            tilt = np.radians(elevation + rng.normal(0, 2))
            away = S.distance * (1 + rng.normal(0, 0.02))
            target = S.scale * (np.array([-0.03, 0.13, 0.0]) + rng.normal(0, 0.02, 3))
            eye = target + away * np.array(
                [np.cos(azimuth) * np.cos(tilt), np.sin(tilt), np.sin(azimuth) * np.cos(tilt)]
            )
            forward = (target - eye) / np.linalg.norm(target - eye)
            right = np.cross(forward, [0, 1, 0])
            right /= np.linalg.norm(right)
            down = np.cross(forward, right)
            roll = np.radians(rng.normal(0, 2))
            axes = np.stack(
                [
                    np.cos(roll) * right + np.sin(roll) * down,
                    np.cos(roll) * down - np.sin(roll) * right,
                    forward,
                ]
            )
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = axes, -axes @ eye
            poses.append(pose)
    return poses


def undistort(points: np.ndarray) -> np.ndarray:
    """Invert Brown's model in image-plane coordinates by fixed-point iteration."""
    k1, k2, p1, p2 = S.distortion
    ideal = points.copy()
    for _ in range(9):  # contracts by a factor of 20 and more each time
        x, y = ideal[..., 0], ideal[..., 1]
        r2 = x * x + y * y
        shift = np.stack(
            [2 * p1 * x * y + p2 * (r2 + 2 * x * x), p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], -1
        )
        ideal = (points - shift) / (1 + r2 * (k1 + k2 * r2))[..., None]
    return ideal


class Studio:
    """The path tracer with the bird in its light."""

    def __init__(self, mesh_file: Path, texture_file: Path) -> None:
        find_llvm()
        import drjit
        import mitsuba as mi

        mi.set_variant("llvm_ad_rgb")
        self.mi, self.normalize = mi, drjit.normalize
        self.scene = mi.load_dict(
            {
                "type": "scene",
                "light": {"type": "envmap", "bitmap": mi.Bitmap(environment())},
                "bird": {
                    "type": "ply",
                    "filename": str(mesh_file),
                    "flip_tex_coords": False,
                    "bsdf": {
                        "type": "principled",
                        "base_color": {"type": "bitmap", "filename": str(texture_file)},
                        "roughness": S.roughness,
                        "specular": 0.5,
                    },
                },
            }
        )
        self.integrator = mi.load_dict({"type": "path", "max_depth": 5, "hide_emitters": True})

    def rays(self, pose: np.ndarray, pixels: np.ndarray, offsets: np.ndarray):
        """Rays through the places at some offsets (n m 2) from the corners of n pixels.

        The lens is inverted at each pixel's centre and extended linearly over the pixel, which is
        exact to 1e-4 of a pixel.
        """
        mi = self.mi
        centres = pixels + 0.5
        middle = undistort((centres - S.principal) / S.focal)
        right = undistort((centres + np.array([0.5, 0]) - S.principal) / S.focal)
        below = undistort((centres + np.array([0, 0.5]) - S.principal) / S.focal)
        slopes = np.stack([2 * (right - middle), 2 * (below - middle)], 1)
        plane = (middle[:, None] + (offsets - 0.5) @ slopes).astype(np.float32).reshape(-1, 2)
        x, y = mi.Float(plane[:, 0]), mi.Float(plane[:, 1])
        axes = [mi.Vector3f(*axis.tolist()) for axis in pose[:3, :3]]
        direction = self.normalize(axes[0] * x + axes[1] * y + axes[2])
        origin = -pose[:3, :3].T @ pose[:3, 3]
        return mi.RayDifferential3f(o=mi.Point3f(*origin.tolist()), d=direction)

    def trace(self, pose: np.ndarray, pixels: np.ndarray, seed: int) -> np.ndarray:
        """RGB and alpha, averaged over jittered places in each pixel (n x 2 corners): n x 4."""
        rng = np.random.default_rng([S.seed, seed])
        cells = np.stack(np.meshgrid(np.arange(S.strata), np.arange(S.strata)), -1).reshape(-1, 2)
        jitter = rng.random((len(pixels), len(cells), 2), dtype=np.float32)
        ray = self.rays(pose, pixels, (cells.astype(np.float32) + jitter) / S.strata)
        # Light directions are stratified over each pixel's samples, which tames their noise.
        sampler = self.mi.load_dict({"type": "multijitter", "sample_count": len(cells)})
        sampler.set_samples_per_wavefront(len(cells))
        sampler.seed(seed, len(pixels) * len(cells))
        color, valid, _ = self.integrator.sample(self.scene, sampler, ray)
        samples = np.stack([*np.array(color), np.array(self.mi.Float(valid))])
        return samples.reshape(4, len(pixels), len(cells)).mean(2, dtype=np.float64).T

    def photograph(self, pose: np.ndarray, index: int) -> np.ndarray:
        """Radiance (0 off the object) and coverage per pixel, h x w x 4: a box filter."""
        corners = np.stack(np.meshgrid(np.arange(S.size), np.arange(S.size)), -1).reshape(-1, 2)
        hit = np.array(self.scene.ray_test(self.rays(pose, corners, np.full((1, 1, 2), 0.5))))
        active = near_object(hit.reshape(S.size, S.size))
        image = np.zeros((S.size * S.size, 4))
        for part, start in enumerate(range(0, len(active), S.chunk)):
            chosen = active[start : start + S.chunk]
            # A full chunk every time: the same compiled kernel serves all.
            padded = np.resize(chosen, S.chunk)
            found = self.trace(pose, corners[padded], 100 * index + part)
            image[chosen] = found[: len(chosen)]
        return image.reshape(S.size, S.size, 4)


def near_object(hit: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return np.flatnonzero(ndimage.binary_dilation(hit, iterations=4))


def develop(radiance: np.ndarray, seed: int) -> np.ndarray:
    """Put the object before a paper backdrop and let a sensor see it: 8-bit sRGB."""
    rng = np.random.default_rng([S.seed, 1000 + seed])
    row = (np.arange(S.size) + 0.5)[:, None, None] / S.size
    backdrop = (0.44 - 0.10 * row) * np.array([0.97, 1.0, 1.02]) * np.ones((1, S.size, 1))
    linear = radiance[..., :3] + (1 - radiance[..., 3:]) * backdrop
    electrons = rng.poisson(np.clip(linear, 0, None) * S.full_well)
    electrons = electrons + rng.normal(0, S.read_noise, linear.shape)
    return encode(electrons / S.full_well)


def write_truth(vertices, faces, normals, uv, albedo: np.ndarray) -> None:
    """The mesh with its texture as GLB (metres), and the light with its harmonics."""
    import torch
    import trimesh
    from PIL import Image

    from invgraph.rendering.environment import harmonic_coefficients

    folder = OUT / "truth"
    folder.mkdir()
    material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=Image.fromarray(albedo),
        roughnessFactor=S.roughness,
        metallicFactor=0.0,
    )
    visual = trimesh.visual.TextureVisuals(
        uv=np.stack([uv[:, 0], 1 - uv[:, 1]], -1), material=material
    )
    mesh = trimesh.Trimesh(vertices, faces, vertex_normals=normals, visual=visual, process=False)
    (folder / "object.glb").write_bytes(mesh.export(file_type="glb", include_normals=True))
    radiance = environment()
    coefficients = harmonic_coefficients(torch.from_numpy(radiance)).numpy()
    np.savez_compressed(folder / "light.npz", radiance=radiance, coefficients=coefficients)


def write_ply(path: Path, vertices, faces, normals, uv) -> None:
    """A PLY file with normals and texture coordinates (trimesh writes none)."""
    rows = np.concatenate([vertices, normals, uv], -1).astype("<f4")
    names = "".join(
        f"property float {name}\n" for name in ("x", "y", "z", "nx", "ny", "nz", "u", "v")
    )
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n{names}"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    records = np.empty(len(faces), dtype=[("n", "u1"), ("v", "<i4", 3)])
    records["n"], records["v"] = 3, faces
    path.write_bytes(header.encode() + rows.tobytes() + records.tobytes())


def main() -> None:
    import tempfile

    import xatlas
    from PIL import Image

    argparse.ArgumentParser(description=__doc__).parse_args()  # nothing but --help
    shutil.rmtree(OUT, ignore_errors=True)
    (OUT / "images").mkdir(parents=True)
    (OUT / "masks").mkdir()
    vertices, faces = build_shape()
    old, faces, uv = xatlas.parametrize(vertices.astype(np.float32), faces.astype(np.uint32))
    normals = vertex_normals(vertices, old[faces].astype(np.int64))[old]
    vertices, faces, uv = vertices[old], faces.astype(np.int64), uv.astype(np.float64)
    albedo = bake(vertices, faces, uv)
    print(f"{len(faces)} faces, {len(vertices)} vertices with seams", flush=True)
    metric = vertices * S.scale
    write_truth(metric, faces, normals, uv, albedo)
    frames = []
    with tempfile.TemporaryDirectory() as scratch:
        mesh_file, texture_file = Path(scratch, "bird.ply"), Path(scratch, "albedo.png")
        write_ply(mesh_file, metric, faces, normals, uv)
        Image.fromarray(albedo).save(texture_file)
        studio = Studio(mesh_file, texture_file)
    for index, pose in enumerate(cameras()):
        radiance = studio.photograph(pose, index)
        name = f"{index:03d}"
        data = io.BytesIO()
        photo = Image.fromarray(develop(radiance, index))
        photo.save(data, "JPEG", quality=S.jpeg_quality, subsampling=0, optimize=True)
        (OUT / "images" / f"{name}.jpg").write_bytes(data.getvalue())
        mask = np.round(radiance[..., 3] * 255).astype(np.uint8)
        Image.fromarray(mask).save(OUT / "masks" / f"{name}.png", optimize=True)
        world_from_opengl = np.linalg.inv(pose) @ np.diag([1.0, -1.0, -1.0, 1.0])
        frames.append(
            {
                "file_path": f"images/{name}.jpg",
                "mask_path": f"masks/{name}.png",
                "transform_matrix": [[round(v, 9) for v in line] for line in world_from_opengl],
            }
        )
        print(f"photo {index}: brightest {radiance[..., :3].max():.3f}", flush=True)
    k1, k2, p1, p2 = S.distortion
    cameras_file = {
        "camera_model": "OPENCV",
        "w": S.size,
        "h": S.size,
        "fl_x": S.focal[0],
        "fl_y": S.focal[1],
        "cx": S.principal[0],
        "cy": S.principal[1],
        "k1": k1,
        "k2": k2,
        "p1": p1,
        "p2": p2,
        "frames": frames,
    }
    (OUT / "transforms.json").write_text(json.dumps(cameras_file, indent=1) + "\n")
    total = sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file())
    print(f"{len(frames)} photos, assets hold {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
