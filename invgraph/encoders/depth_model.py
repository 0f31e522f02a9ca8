"""A trained depth network and what has to be known to use it."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from invgraph.encoders.depth_network import DepthNet
from invgraph.encoders.resnet import SIZES, ResNet
from invgraph.files.tensors import encode_tensors, read_model, write_tensors
from invgraph.geometry.color import srgb_from_linear
from invgraph.scene.belief import DepthBelief

_LARGEST_SIDE = 10_000  # pixels
_LEAST = 1e-6  # of a focal length, a spread, a unit; their inverse is the most
_FACTS = {"height", "width", "spread", "focal", "trained_on"}


@dataclass(frozen=True, eq=False)
class DepthModel:
    """Depth from one image.

    Attributes:
        network: the weights.
        facts: ``network``, ``normalise``, ``height``, ``width``, ``spread`` (the factor of the
            network's own scale by which 90 % intervals hold 90 % of what was held out), ``focal``
            (in image widths, of each recording learned from), ``metres`` (per unit of the network's
            depth; None if unknown) and ``trained_on`` (SHA-256 of the frames' files, with those its
            encoder was pre-trained on).
    """

    network: DepthNet
    facts: dict[str, Any]

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "b h w 3"]) -> DepthBelief:
        """Depth of images, in metres, or in the unit of the training: its median depth.

        Args:
            images: linear RGB of any size.

        Returns:
            A belief at the images' size.
        """
        height, width = images.shape[1:3]
        planes = srgb_from_linear(images).clamp(0, 1).movedim(-1, 1)
        size = (self.facts["height"], self.facts["width"])
        planes = interpolate(planes, size, mode="bilinear", antialias=True)
        belief = self.network(planes)[0]
        # Between pixels it is inverse depth that changes evenly on a plane.
        inverse, scale = (
            interpolate(x[:, None], (height, width), mode="bilinear")[:, 0]
            for x in ((-belief.log_depth).exp(), belief.scale)
        )
        unit = self.facts.get("metres") or 1.0  # models from before stereo pairs do not say
        return DepthBelief(math.log(unit) - inverse.log(), self.facts["spread"] * scale)

    def fingerprint(self) -> str:
        """Equal for equal weights and facts."""
        return hashlib.sha256(encode_tensors(self.network.state_dict(), self.facts)).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write one safetensors file."""
        path = Path(path)
        write_tensors(path, dict(self.network.state_dict()), self.facts)


def _check(facts: dict[str, Any]) -> None:
    """Refuse facts that no training writes."""
    size = (facts["height"], facts["width"])
    if not all(type(side) is int and 0 < side <= _LARGEST_SIDE for side in size):
        raise TypeError(f"height, width are {size}")
    scales = [*facts["focal"], facts["spread"], facts.get("metres") or 1.0]
    if not facts["focal"] or not all(_LEAST < scale < 1 / _LEAST for scale in scales):
        raise TypeError(f"focal, spread, metres are {scales}")


def load_depth_model(path: str | Path) -> DepthModel:
    """Read what ``invgraph train depth`` wrote.

    Args:
        path: the file, or the run folder with ``model.safetensors``.

    Raises:
        ValueError: the file is missing, damaged or no depth model.
    """
    path = Path(path)
    remedy = "give what `invgraph train depth` wrote"
    path, tensors, facts = read_model(path, remedy)
    try:
        size, normalise = facts["network"], facts["normalise"]
        if size not in SIZES or not facts.keys() >= _FACTS:
            raise KeyError(size)
        network = DepthNet(ResNet(size, normalise=normalise))
        network.load_state_dict(tensors)
        _check(facts)
    except (KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:100]
        raise ValueError(f"{path} is no depth model ({reason}); {remedy}.") from error
    return DepthModel(network.eval(), facts)
