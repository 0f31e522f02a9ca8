"""What is known about a capture besides its photographs: for evaluation only.

Fitting and training never read it: it is a type of its own so that a label cannot slip in.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.data.images import decode
from invgraph.files.arrays import read_array
from invgraph.geometry.color import linear_from_srgb
from invgraph.geometry.mesh import Mesh
from invgraph.scene import EnvironmentMap, SphericalHarmonicLight
from invgraph.scene.gltf_files import read_gltf
from invgraph.scene.mesh_files import load_mesh


@dataclass(frozen=True, eq=False)
class MeasuredMap:
    """Depth or disparity of one photograph on disk, decoded only when asked for.

    Args:
        path: 16-bit PNG, PFM, or NPY or NPZ with one array; its pixels are as the file stores them.
        scale: what one unit of the file is: metres (depth) or pixels (disparity).

    Raises:
        ValueError: ``scale`` is not finite and positive.
    """

    path: Path
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(
                f"{self.path}: the scale is {self.scale}, expected a positive number; correct it."
            )

    def load(self) -> Float[Tensor, "h w"]:
        """Metres along the optical axis, or pixels; 0 where nothing was measured.

        Values that are not finite, not positive or, in a PNG, 65535 count as not measured.

        Raises:
            ValueError: the file is missing, damaged or of another kind.
        """
        reader = {".png": _read_png, ".pfm": _read_pfm, ".npy": _read_npy, ".npz": _read_npy}
        if self.path.exists() and not self.path.is_file():
            raise ValueError(f"{self.path} is not a file; restore it.")
        if self.path.suffix.lower() not in reader:
            raise ValueError(f"{self.path} is no PNG, PFM, NPY or NPZ; convert it to one of these.")
        values = reader[self.path.suffix.lower()](self.path)
        if values.ndim != 2:
            raise ValueError(f"{self.path} holds an array {values.shape}, expected rows x columns.")
        values = values.astype(np.float32)
        values[~np.isfinite(values) | (values <= 0)] = 0
        return torch.from_numpy(values * np.float32(self.scale))


@dataclass(frozen=True, eq=False)
class ObjectPose:
    """Where a known object is in one photograph.

    Args:
        object_id: number of its model in the data set.
        camera_from_object: rigid pose, metres.
        mask_path: its visible pixels, if the data set has them.
    """

    object_id: int
    camera_from_object: Float[Tensor, "4 4"]
    mask_path: Path | None = None


@dataclass(frozen=True, eq=False)
class Truth:
    """Labels of a capture, one entry per frame; an empty tuple where a kind is unknown.

    Args:
        scene: the true scene of a synthetic capture.
        poses: ``camera_from_world`` by another instrument; None for frames without.
        depth: metres; None for frames without.
        disparity: pixels by which the right photo shows a point further left than this one.
        objects: known objects in each photo.
    """

    scene: "SceneTruth | None" = None
    poses: tuple[Tensor | None, ...] = ()
    depth: tuple[MeasuredMap | None, ...] = ()
    disparity: tuple[MeasuredMap | None, ...] = ()
    objects: tuple[tuple[ObjectPose, ...], ...] = ()

    def only(self, indices: Sequence[int]) -> "Truth":
        """The truth of some of the frames, in that order."""

        def pick(entries: tuple) -> tuple:
            return tuple(entries[i] for i in indices) if entries else ()

        return Truth(
            self.scene,
            pick(self.poses),
            pick(self.depth),
            pick(self.disparity),
            pick(self.objects),
        )


def _read_png(path: Path) -> np.ndarray:
    levels = decode(path, as_stored=True)
    plane = levels[..., 0].astype(np.float32)
    plane[plane == 65535] = 0
    return plane if levels.shape[2] == 1 else levels


def _read_npy(path: Path) -> np.ndarray:
    try:
        values = read_array(path)
        if values.dtype.kind not in "fiub":
            raise ValueError(f"it holds {values.dtype}, expected numbers")
        with np.errstate(over="ignore"):  # what is too large counts as not measured
            return values.astype(np.float32)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as an array ({error}); restore it.") from error


def _read_pfm(path: Path) -> np.ndarray:
    """A grey portable float map: its rows go from bottom to top."""
    try:
        data = path.read_bytes()
        kind, size, scale, pixels = data.split(b"\n", 3)
        width, height = (int(word) for word in size.split())
        factor = float(scale)
        if not math.isfinite(factor) or factor == 0:
            raise ValueError(f"its scale is {factor}")
        order = "<" if factor < 0 else ">"
        if kind.strip() != b"Pf" or len(pixels) < 4 * width * height or min(width, height) < 1:
            raise ValueError("not a whole grey PFM")
    except (OSError, ValueError) as error:
        reason = str(error)[:120]
        raise ValueError(f"{path} is no grey PFM ({reason}); restore it.") from error
    return np.frombuffer(pixels, f"{order}f4", width * height).reshape(height, width)[::-1]


@dataclass(frozen=True)
class SceneTruth:
    """The true scene of a synthetic capture.

    Args:
        folder: holds ``object.glb`` (mesh and texture in the capture's world) and ``light.npz``
            (``radiance``, ``coefficients``).
    """

    folder: Path

    def mesh(self) -> Mesh:
        """The true surface, world frame, with texture coordinates.

        Raises:
            ValueError: the file is missing or broken.
        """
        return load_mesh(self.folder / "object.glb")

    def albedo(self) -> Float[Tensor, "h w 3"]:
        """The true texture, linear RGB, for the mesh's texture coordinates.

        Raises:
            ValueError: the file is missing or broken, or holds no texture.
        """
        path = self.folder / "object.glb"
        try:
            [part] = read_gltf(path, [])
            assert part.texture is not None
            pixels = part.texture.pixels
        except Exception as error:  # untrusted files trip parsing in more ways than can be listed
            raise ValueError(f"{path} holds no readable texture; restore it.") from error
        return linear_from_srgb(torch.from_numpy(pixels.astype(np.float32) / 255))

    def environment(self) -> EnvironmentMap:
        """The true light from all around, world frame.

        Raises:
            ValueError: the file is missing or broken.
        """
        return EnvironmentMap(self._light("radiance", 3))

    def light(self) -> SphericalHarmonicLight:
        """The true light to order 4, world frame.

        Raises:
            ValueError: the file is missing or broken.
        """
        return SphericalHarmonicLight(self._light("coefficients", 2))

    def light_direction(self) -> Float[Tensor, " 3"]:
        """Unit vector towards where most light comes from: the gradient of the order-1 part.

        Raises:
            ValueError: the file is missing or broken.
        """
        grey = self._light("coefficients", 2).mean(1)
        if len(grey) < 4:
            raise ValueError(f"{self.folder / 'light.npz'} has no direction; restore it.")
        # Rows 1, 2, 3 are multiples of y, z, x.
        return torch.nn.functional.normalize(grey[[3, 1, 2]], dim=0)

    def _light(self, name: str, axes: int) -> Tensor:
        """An array whose last axis, of so many, is red, green, blue."""
        path = self.folder / "light.npz"
        if not path.is_file():
            raise ValueError(f"{path} does not exist or is not a file; restore it.")
        try:
            with np.load(path, allow_pickle=False) as stored:
                values = torch.from_numpy(stored[name].astype(np.float32))
        except Exception as error:  # zip, zlib and numpy each raise their own
            raise ValueError(f"{path} cannot be read; restore it.") from error
        if values.ndim != axes or values.shape[-1] != 3:
            raise ValueError(f"{path}: {name} has the shape {tuple(values.shape)}; restore it.")
        return values
