"""The leaf tensors of an object fit and the scene that they stand for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.fitting.object.cameras import Corrections
from invgraph.fitting.object.large_steps import LargeSteps, UniformAdam
from invgraph.fitting.object.per_image_light import PerImageLight
from invgraph.geometry.camera import Camera
from invgraph.geometry.mesh import Mesh
from invgraph.rendering.visibility import visibility
from invgraph.scene import Material, Object, Scene, SphericalHarmonicLight

LIGHT_ORDER = 4
DIRECTIONS = 128
TWIST = 2e-3  # step of the cameras' corrections, rad and object diagonals
DELTA = 0.05  # step of the per-image light
LEAVES = ("albedo", "roughness", "metallic", "light")


@dataclass(frozen=True)
class Appearance:
    """Appearance parameters without bounds: what descends.

    Attributes:
        albedo: logits, per vertex ``v 3`` or as a texture ``h w 3``.
        roughness: logit of the perceptual roughness, constant or as a texture ``h w 1``.
        metallic: logit, likewise.
        light: spherical harmonics of the radiance around the object.
        background: linear colour behind the object; it does not descend.
        frame: what the light is fixed to.
    """

    albedo: Tensor
    roughness: Float[Tensor, "*texture 1"]
    metallic: Float[Tensor, "*texture 1"]
    light: Float[Tensor, "k 3"]
    background: Float[Tensor, "3"]
    frame: Literal["world", "camera"]

    @staticmethod
    def plain(
        vertices: int, background: Float[Tensor, "3"], frame: Literal["world", "camera"]
    ) -> "Appearance":
        """Grey, rather glossy, under even light."""
        light = torch.zeros((LIGHT_ORDER + 1) ** 2, 3)
        light[0] = 3.5
        return Appearance(
            torch.zeros(vertices, 3),
            torch.full((1,), -0.4),
            torch.full((1,), -4.0),
            light,
            background,
            frame,
        )


def without_visibility(scene: Scene) -> Scene:
    """The scene without its table of shadows, which is large and can be found again."""
    return replace(scene, objects=tuple(replace(o, visibility=None) for o in scene.objects))


class Estimate:
    """A mesh and its appearance during the descent.

    Args:
        mesh: start; its triangles stay.
        appearance: start.
        stride: length of a usual vertex step, world units.
        smoothness: of vertex steps, as in :class:`LargeSteps`.
        table: its visibility; computed when left out.
        corrections: of the cameras, which then descend as well.
        per_image_light: descends likewise; None where all photos share one light.
    """

    def __init__(
        self,
        mesh: Mesh,
        appearance: Appearance,
        stride: float,
        smoothness: float,
        table: Float[Tensor, "v d"] | None = None,
        corrections: Corrections | None = None,
        per_image_light: PerImageLight | None = None,
    ) -> None:
        self.mesh = mesh
        self._stride, self._smoothness = stride, smoothness
        self.steps = LargeSteps(mesh.vertices, mesh.faces, smoothness)
        leaves = {
            name: getattr(appearance, name).detach().clone().requires_grad_() for name in LEAVES
        }
        self.appearance = replace(appearance, **leaves)
        self.optimizers: tuple[torch.optim.Optimizer, ...] = (
            UniformAdam([self.steps.u], lr=stride),
            torch.optim.Adam(
                [
                    {"params": [leaves["albedo"]], "lr": 0.03},
                    {"params": [leaves["roughness"], leaves["metallic"]], "lr": 0.05},
                    {"params": [leaves["light"]], "lr": 0.02},
                ],
                betas=(0.9, 0.99),
                fused=True,
            ),
        )
        self.corrections = corrections
        if corrections is not None:
            twists = torch.optim.SparseAdam([corrections.twists], lr=TWIST, betas=(0.8, 0.99))
            self.optimizers += (twists,)
        self.per_image_light = per_image_light
        if per_image_light is not None:
            deltas = torch.optim.SparseAdam([per_image_light.deltas], lr=DELTA, betas=(0.8, 0.99))
            self.optimizers += (deltas,)
        self._rates = [[group["lr"] for group in o.param_groups] for o in self.optimizers]
        if table is None:
            self.refresh()
        else:
            self.visibility = table

    @torch.no_grad()
    def refresh(self) -> None:
        """Find anew which light reaches which vertex."""
        self.visibility = visibility(replace(self.mesh, vertices=self.steps.vertices()), DIRECTIONS)

    def scene(self, photos: Sequence[int] | None = None) -> Scene:
        """The scene that the parameters stand for; gradients reach them.

        Args:
            photos: training photos that it shall be rendered for, in the order of the cameras; when
                left out, the light is the mean of all photos'.
        """
        if self.per_image_light is None:
            return self._lit(self.appearance.light)
        if photos is None:
            return self._lit(self.appearance.light + self.per_image_light.mean)
        return self._lit(self.appearance.light + self.per_image_light.own(photos))

    def scene_at(self, place: int) -> Scene:
        """The scene in the light in which the neighbours of a photo in the capture were taken."""
        if self.per_image_light is None:
            return self._lit(self.appearance.light)
        return self._lit(self.appearance.light + self.per_image_light.around(place))

    def _lit(self, light: Float[Tensor, "*b k 3"]) -> Scene:
        appearance = self.appearance
        material = Material(
            albedo=torch.sigmoid(appearance.albedo),
            roughness=torch.sigmoid(appearance.roughness),
            metallic=torch.sigmoid(appearance.metallic),
            albedo_kind="vertex" if self.mesh.uv is None else "texture",
            roughness_kind="constant" if appearance.roughness.ndim == 1 else "texture",
            metallic_kind="constant" if appearance.metallic.ndim == 1 else "texture",
        )
        shape = replace(self.mesh, vertices=self.steps.vertices())
        thing = Object(shape, torch.eye(4), material, visibility=self.visibility)
        around = SphericalHarmonicLight(light, frame=appearance.frame)
        return Scene((thing,), (around,), appearance.background)

    def step(self, loss: Tensor, rate: float) -> None:
        """Descend once; ``rate`` scales all step sizes."""
        for optimizer, rates in zip(self.optimizers, self._rates, strict=True):
            optimizer.zero_grad()
            for group, full in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = full * rate
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        if self.corrections is not None:
            self.corrections.recentre()

    def cameras(self, camera: Camera, photos: Sequence[int]) -> Camera:
        """The cameras of some photos as far as they are corrected."""
        return camera if self.corrections is None else self.corrections.apply(camera, photos)

    def facts(self) -> dict[str, Any]:
        """What :meth:`from_state` needs besides the tensors; JSON."""
        return {
            "frame": self.appearance.frame,
            "stride": self._stride,
            "smoothness": self._smoothness,
            "size": None if self.corrections is None else self.corrections.size,
            "places": None if self.per_image_light is None else self.per_image_light.places,
        }

    def state(self) -> dict[str, Tensor]:
        """Every tensor that decides how the descent goes on."""
        mesh, appearance = self.frozen()
        tensors = {"vertices": mesh.vertices, "faces": mesh.faces, "visibility": self.visibility}
        if mesh.uv is not None and mesh.uv_faces is not None:
            tensors |= {"uv": mesh.uv, "uv_faces": mesh.uv_faces}
        tensors |= {name: getattr(appearance, name) for name in (*LEAVES, "background")}
        if self.corrections is not None:
            tensors |= {"twists": self.corrections.twists, "centre": self.corrections.centre}
        if self.per_image_light is not None:
            tensors |= {
                "deltas": self.per_image_light.deltas,
                "centres": self.per_image_light.centres,
            }
        for o, i, state in self._moments():
            tensors |= {f"moment.{o}.{i}.{k}": torch.as_tensor(v) for k, v in state.items()}
        return tensors

    @staticmethod
    def from_state(tensors: dict[str, Tensor], facts: dict[str, Any]) -> "Estimate":
        """The estimate that :meth:`state` and :meth:`facts` describe."""
        mesh = Mesh(
            tensors["vertices"], tensors["faces"], tensors.get("uv"), tensors.get("uv_faces")
        )
        parts = {name: tensors[name] for name in (*LEAVES, "background")}
        appearance = Appearance(**parts, frame=facts["frame"])
        corrections = None
        if facts["size"] is not None:
            corrections = Corrections(tensors["twists"], tensors["centre"], facts["size"])
        per_image_light = None
        if facts["places"] is not None:
            per_image_light = PerImageLight(tensors["deltas"], facts["places"], tensors["centres"])
        estimate = Estimate(
            mesh,
            appearance,
            facts["stride"],
            facts["smoothness"],
            tensors["visibility"],
            corrections,
            per_image_light,
        )
        for name, tensor in tensors.items():
            if name.startswith("moment."):
                o, i, key = name.split(".")[1:]
                optimizer = estimate.optimizers[int(o)]
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                optimizer.state[parameters[int(i)]][key] = tensor
        return estimate

    def _moments(self) -> Iterator[tuple[int, int, dict[str, Any]]]:
        for o, optimizer in enumerate(self.optimizers):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            for i, parameter in enumerate(parameters):
                yield o, i, optimizer.state[parameter]

    def frozen(self) -> tuple[Mesh, Appearance]:
        """Shape and appearance as they are now."""
        with torch.no_grad():
            mesh = replace(self.mesh, vertices=self.steps.vertices())
        return mesh, replace(
            self.appearance,
            **{name: getattr(self.appearance, name).detach().clone() for name in LEAVES},
        )

    @torch.no_grad()
    def share_light(self) -> None:
        """Give up the per-image light: its mean becomes the light of all photos."""
        if self.per_image_light is not None:
            self.appearance.light.add_(self.per_image_light.mean)
            self.per_image_light, self.optimizers = None, self.optimizers[:-1]
            self._rates = self._rates[:-1]
