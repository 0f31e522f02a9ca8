"""A trained encoder of scenes with the prior that it was trained on, as one file."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from invgraph.encoders.finder import Finder
from invgraph.encoders.scene_encoder import SIDE, SceneEncoder
from invgraph.files.tensors import encode_tensors, read_model, write_tensors
from invgraph.fitting.scene.object_prior import ObjectPrior, prior_of
from invgraph.geometry.color import srgb_from_linear
from invgraph.geometry.lens import Lens
from invgraph.geometry.mesh import Mesh
from invgraph.scene.distributions import AnyRotation, Gaussian, PoseInView, Upright
from invgraph.scene.heat_map import HeatMap
from invgraph.scene.prior import Prior
from invgraph.scene.scene_belief import SceneBelief

_REMEDY = "give what `invgraph train scene` wrote"


@dataclass(frozen=True, eq=False)
class SceneModel:
    """What is believed of the scene in an image that shows a known object.

    Attributes:
        encoder: the network that looks at crops about the object.
        finder: the network that finds it in photos.
        known: the prior.
        facts: ``network``, ``name``, ``rotation``, ``view``, and what the training noted.
    """

    encoder: SceneEncoder
    finder: Finder
    known: ObjectPrior
    facts: dict[str, Any]

    @staticmethod
    def of(
        encoder: SceneEncoder, finder: Finder, known: ObjectPrior, facts: dict[str, Any]
    ) -> "SceneModel":
        """A model from its parts; ``facts`` are further ones."""
        rotation = None
        if isinstance(known.rotation, Upright):
            rotation = {"elevation": list(known.rotation.elevation), "roll": known.rotation.roll}
        own = {
            "network": encoder.trunk.size,
            "name": known.name,
            "rotation": rotation,
            "view": {"size": list(encoder.pose.size), "offset": encoder.pose.offset},
        }
        return SceneModel(encoder, finder, known, {**facts, **own})

    @torch.no_grad()
    def __call__(
        self, images: Float[Tensor, "b h w 3"], lens: Lens
    ) -> tuple[SceneBelief, Float[Tensor, " b"]]:
        """What is believed, given that the object is there, and the probability that it is.

        Args:
            images: linear RGB, square crops about the object.
            lens: theirs, pinholes; one or one per image.
        """
        planes = srgb_from_linear(images).clamp(0, 1).movedim(-1, 1)
        if planes.shape[-1] != SIDE:
            planes = interpolate(planes, (SIDE, SIDE), mode="bilinear", antialias=True)
        belief, present = self.encoder(planes, lens.resize(SIDE, SIDE))
        return belief, present.sigmoid()

    @torch.no_grad()
    def heat(self, photo: Float[Tensor, "h w 3"]) -> HeatMap:
        """Where the object is believed to be in a photo, linear RGB, of any size."""
        return self.finder(srgb_from_linear(photo).clamp(0, 1).movedim(-1, 0)[None])

    def fingerprint(self) -> str:
        """Equal for equal weights, priors and facts."""
        return hashlib.sha256(encode_tensors(self._tensors(), self.facts)).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, with the prior, whatever later ones are like."""
        path = Path(path)
        write_tensors(path, self._tensors(), self.facts)

    def _tensors(self) -> dict[str, Tensor]:
        [thing] = self.known.prior.template.objects
        tensors = {
            f"{name}.{part}": value
            for name, network in (("encoder", self.encoder), ("finder", self.finder))
            for part, value in network.state_dict().items()
        }
        tensors["object.vertices"] = thing.mesh.vertices
        tensors["object.faces"] = thing.mesh.faces
        tensors["object.albedo"] = thing.material.albedo
        tensors["object.centre"] = self.known.centre
        tensors["detail.vertices"] = self.known.mesh.vertices
        tensors["detail.faces"] = self.known.mesh.faces
        tensors["detail.albedo"] = self.known.albedo
        for name, free in self.encoder.others.items():
            tensors[f"prior.{name}.mean"], tensors[f"prior.{name}.scale"] = free.mean, free.scale
        return tensors


def load_scene_model(path: str | Path) -> SceneModel:
    """Read what ``invgraph train scene`` wrote.

    Args:
        path: the file, or the run folder with ``model.safetensors``.

    Raises:
        ValueError: the file is missing, damaged or no model of scenes.
    """
    path = Path(path)
    path, tensors, facts = read_model(path, _REMEDY)
    try:
        rotation = facts["rotation"]
        rotation = (
            AnyRotation()
            if rotation is None
            else Upright(tuple(rotation["elevation"]), rotation["roll"])
        )
        mesh, albedo = _colored_mesh(tensors, "object")
        detail, of_detail = _colored_mesh(tensors, "detail")
        prior = _as_trained(prior_of(mesh, albedo, rotation), tensors, facts["view"])
        centre = tensors["object.centre"].reshape(3)
        known = ObjectPrior(facts["name"], prior, detail, of_detail, centre, rotation)
        encoder = SceneEncoder(prior, len(tensors["encoder.turns"]), facts["network"])
        finder = Finder(facts["network"])
        for name, network in (("encoder.", encoder), ("finder.", finder)):
            weights = {
                part.removeprefix(name): value
                for part, value in tensors.items()
                if part.startswith(name)
            }
            network.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is no model of scenes; {_REMEDY}.") from error
    return SceneModel(encoder.eval(), finder.eval(), known, facts)


def _colored_mesh(tensors: dict[str, Tensor], part: str) -> tuple[Mesh, Tensor]:
    vertices, faces, albedo = (
        tensors[f"{part}.{what}"] for what in ("vertices", "faces", "albedo")
    )
    if albedo.shape != vertices.shape:
        raise ValueError(f"{part}: a colour for each of the vertices was expected.")
    if not bool(((faces >= 0) & (faces < len(vertices))).all()):
        raise ValueError(f"{part}: there are faces without vertices.")
    return Mesh(vertices, faces), albedo


def _as_trained(prior: Prior, tensors: dict[str, Tensor], view: dict[str, Any]) -> Prior:
    """The prior with what was likely when the encoder was trained."""
    distributions = dict(prior.distributions)
    for name, free in distributions.items():
        if isinstance(free, Gaussian):
            mean, scale = tensors[f"prior.{name}.mean"], tensors[f"prior.{name}.scale"]
            distributions[name] = replace(free, mean=mean, scale=scale)
        elif isinstance(free, PoseInView):
            distributions[name] = replace(free, size=tuple(view["size"]), offset=view["offset"])
    return replace(prior, distributions=distributions)
