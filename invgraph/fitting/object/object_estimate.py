"""A scene of one object during its descent, and the unknowns that descend."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.fitting.object.cameras import Corrections
from invgraph.fitting.object.large_steps import LargeSteps, UniformAdam
from invgraph.fitting.object.per_image_light import PerImageLight
from invgraph.geometry.camera import Camera
from invgraph.geometry.mesh import Mesh
from invgraph.geometry.tensor_tree import flatten, map_tensors, replaced
from invgraph.rendering.visibility import visibility
from invgraph.scene import Material, Object, Scene, SphericalHarmonicLight
from invgraph.scene.domains import Domain, Free, UnitInterval
from invgraph.scene.material import CHANNELS
from invgraph.scene.unknowns import Unknowns

LIGHT_ORDER = 4
DIRECTIONS = 128
TWIST = 2e-3  # step of the cameras' corrections, rad and object diagonals
DELTA = 0.05  # step of the per-image light

VERTICES = "objects.0.geometry.vertices"
ALBEDO = "objects.0.material.albedo"
ROUGHNESS = "objects.0.material.roughness"
METALLIC = "objects.0.material.metallic"
LIGHT = "lights.0.coefficients"
# What descends beside the vertices, and its step.
DOMAINS: dict[str, Domain] = {
    ALBEDO: UnitInterval(),
    ROUGHNESS: UnitInterval(),
    METALLIC: UnitInterval(),
    LIGHT: Free(),
}
STEPS = {ALBEDO: 0.03, ROUGHNESS: 0.05, METALLIC: 0.05, LIGHT: 0.02}


def first_guess(
    mesh: Mesh, background: Float[Tensor, "3"], frame: Literal["world", "camera"]
) -> Scene:
    """A mesh in grey, rather glossy, under even light.

    Args:
        mesh: in the world's frame, which stays the object's.
        background: linear colour behind the object; it does not descend.
        frame: what the light is fixed to.
    """
    grey = torch.full((len(mesh.vertices), 3), 0.5)
    light = torch.zeros((LIGHT_ORDER + 1) ** 2, 3)
    light[0] = 3.5
    material = Material(
        grey, torch.tensor([0.40131235]), torch.tensor([0.01798621]), albedo_kind="vertex"
    )
    thing = Object(mesh, torch.eye(4), material)
    return Scene((thing,), (SphericalHarmonicLight(light, frame),), background)


def with_visibility(scene: Scene, table: Float[Tensor, "v d"] | None) -> Scene:
    """A scene of one object with another table of shadows.

    Without one it is small; the table can be found again.
    """
    return replace(scene, objects=(replace(scene.objects[0], visibility=table),))


class Estimate:
    """A scene of one object under spherical harmonics during the descent.

    Args:
        scene: start; its triangles and background stay. Its visibility is computed where it has
            none.
        stride: length of a usual vertex step, world units.
        smoothness: of vertex steps, as in :class:`LargeSteps`.
        corrections: of the cameras, which then descend as well.
        per_image_light: descends likewise; None where all photos share one light.

    Attributes:
        unknowns: what descends beside the vertices.
        coordinates: where it is, by path; leaves.
    """

    def __init__(
        self,
        scene: Scene,
        stride: float,
        smoothness: float,
        corrections: Corrections | None = None,
        per_image_light: PerImageLight | None = None,
    ) -> None:
        self._scene = scene
        self._stride, self._smoothness = stride, smoothness
        self.steps = LargeSteps(self.mesh.vertices, self.mesh.faces, smoothness)
        self.unknowns = Unknowns.of(scene, DOMAINS)
        values = flatten(scene)
        self.coordinates = {
            unknown.path: unknown.coordinates(values[unknown.path]).clone().requires_grad_()
            for unknown in self.unknowns
        }
        self.optimizers: tuple[torch.optim.Optimizer, ...] = (
            UniformAdam([self.steps.u], lr=stride),
            torch.optim.Adam(
                [{"params": [x], "lr": STEPS[path]} for path, x in self.coordinates.items()],
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
        if scene.objects[0].visibility is None:
            self.refresh()

    @property
    def mesh(self) -> Mesh:
        """The mesh that the descent began with."""
        return self._scene.objects[0].mesh

    @property
    def frame(self) -> Literal["world", "camera"]:
        """What the light is fixed to."""
        return self._scene.lights[0].frame

    @torch.no_grad()
    def refresh(self) -> None:
        """Find anew which light reaches which vertex."""
        moved = replace(self.mesh, vertices=self.steps.vertices())
        self._scene = with_visibility(self._scene, visibility(moved, DIRECTIONS))

    def scene(self, photos: Sequence[int] | None = None) -> Scene:
        """The scene that the parameters stand for; gradients reach them.

        Args:
            photos: training photos that it shall be rendered for, in the order of the cameras; when
                left out, the light is the mean of all photos'.
        """
        if self.per_image_light is None:
            return self._lit(None)
        shared = self.per_image_light.mean
        return self._lit(shared if photos is None else self.per_image_light.own(photos))

    def scene_at(self, place: int) -> Scene:
        """The scene in the light in which the neighbours of a photo in the capture were taken."""
        found = self.per_image_light
        return self._lit(None if found is None else found.around(place))

    def _lit(self, delta: Float[Tensor, "*b k 3"] | None) -> Scene:
        """The scene with ``delta`` added to its light."""
        tensors = {u.path: u.value(self.coordinates[u.path]) for u in self.unknowns}
        tensors[VERTICES] = self.steps.vertices()
        if delta is not None:
            tensors[LIGHT] = tensors[LIGHT] + delta
        return replaced(self._scene, tensors)

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
            "frame": self.frame,
            "kinds": [self._scene.objects[0].material.kind(name) for name in CHANNELS],
            "stride": self._stride,
            "smoothness": self._smoothness,
            "size": None if self.corrections is None else self.corrections.size,
            "places": None if self.per_image_light is None else self.per_image_light.places,
        }

    def state(self) -> dict[str, Tensor]:
        """Every tensor that decides how the descent goes on, those of the scene by their paths."""
        tensors = flatten(self.frozen())
        if self.corrections is not None:
            tensors |= {
                "corrections.twists": self.corrections.twists,
                "corrections.centre": self.corrections.centre,
            }
        if self.per_image_light is not None:
            tensors |= {
                "per_image_light.deltas": self.per_image_light.deltas,
                "per_image_light.centres": self.per_image_light.centres,
            }
        for o, i, state in self._moments():
            tensors |= {f"moment.{o}.{i}.{k}": torch.as_tensor(v) for k, v in state.items()}
        return tensors

    @staticmethod
    def from_state(tensors: dict[str, Tensor], facts: dict[str, Any]) -> "Estimate":
        """The estimate that :meth:`state` and :meth:`facts` describe."""
        mesh = Mesh(
            tensors[VERTICES],
            tensors["objects.0.geometry.faces"],
            tensors.get("objects.0.geometry.uv"),
            tensors.get("objects.0.geometry.uv_faces"),
        )
        material = Material(tensors[ALBEDO], tensors[ROUGHNESS], tensors[METALLIC], *facts["kinds"])
        thing = Object(mesh, torch.eye(4), material, tensors["objects.0.visibility"])
        light = SphericalHarmonicLight(tensors[LIGHT], facts["frame"])
        scene = Scene((thing,), (light,), tensors["background"])
        corrections = None
        if facts["size"] is not None:
            twists, centre = tensors["corrections.twists"], tensors["corrections.centre"]
            corrections = Corrections(twists, centre, facts["size"])
        per_image_light = None
        if facts["places"] is not None:
            deltas = tensors["per_image_light.deltas"]
            centres = tensors["per_image_light.centres"]
            per_image_light = PerImageLight(deltas, facts["places"], centres)
        estimate = Estimate(
            scene, facts["stride"], facts["smoothness"], corrections, per_image_light
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

    @torch.no_grad()
    def frozen(self) -> Scene:
        """A copy of the scene as it is now, without what per-image light adds."""
        return map_tensors(torch.clone, self._lit(None))

    @torch.no_grad()
    def share_light(self) -> None:
        """Give up the per-image light: its mean becomes the light of all photos."""
        if self.per_image_light is not None:
            self.coordinates[LIGHT].add_(self.per_image_light.mean)
            self.per_image_light, self.optimizers = None, self.optimizers[:-1]
            self._rates = self._rates[:-1]
