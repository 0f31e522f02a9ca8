"""What is known about a synthetic capture besides its photographs: for evaluation only."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.color import linear_from_srgb
from invgraph.mesh import Mesh
from invgraph.mesh_files import load_mesh
from invgraph.scene import EnvironmentMap, SphericalHarmonicLight


@dataclass(frozen=True)
class Truth:
    """The true scene of a synthetic capture.

    Fitting and training never read it: it is a type of its own so that a label cannot slip in.

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
        import trimesh

        path = self.folder / "object.glb"
        try:
            part = trimesh.load_scene(path).dump()[0]
            texture = part.visual.material.baseColorTexture  # type: ignore[attr-defined]
            pixels = np.asarray(texture.convert("RGB"))
        except Exception as error:  # trimesh's readers raise whatever their parsing trips over
            raise ValueError(f"{path} holds no readable texture; restore it.") from error
        return linear_from_srgb(torch.from_numpy(pixels.astype(np.float32) / 255))

    def environment(self) -> EnvironmentMap:
        """The true light from all around, world frame.

        Raises:
            ValueError: the file is missing or broken.
        """
        return EnvironmentMap(self._light("radiance"))

    def light(self) -> SphericalHarmonicLight:
        """The true light to order 4, world frame.

        Raises:
            ValueError: the file is missing or broken.
        """
        return SphericalHarmonicLight(self._light("coefficients"))

    def light_direction(self) -> Float[Tensor, " 3"]:
        """Unit vector towards where most light comes from: the gradient of the order-1 part."""
        grey = self._light("coefficients").mean(1)
        # Rows 1, 2, 3 are multiples of y, z, x.
        return torch.nn.functional.normalize(grey[[3, 1, 2]], dim=0)

    def _light(self, name: str) -> Tensor:
        path = self.folder / "light.npz"
        try:
            with np.load(path, allow_pickle=False) as stored:
                return torch.from_numpy(stored[name].astype(np.float32))
        except Exception as error:  # zip, zlib and numpy each raise their own
            raise ValueError(f"{path} cannot be read; restore it.") from error
