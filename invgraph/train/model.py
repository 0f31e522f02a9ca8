"""A trained depth network and what has to be known to use it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from invgraph.belief import DepthBelief
from invgraph.color import srgb_from_linear
from invgraph.encoders import SIZES, DepthNet, ResNet
from invgraph.files import read_tensors, write_tensors
from invgraph.train.clips import Clip
from invgraph.train.groups import GroupSet, collate
from invgraph.train.module import DepthTraining

SHARE = 0.9  # of the truths that an interval of this name should hold
_ASKED = 64  # groups, at most


@dataclass(frozen=True, eq=False)
class DepthModel:
    """Depth from one image.

    Attributes:
        network: the weights.
        facts: ``network``, ``normalise``, ``height``, ``width``, ``spread`` (the factor of the
            network's own scale by which 90 % intervals hold 90 % of what was held out), ``focal``
            (in image widths, of each recording learned from) and ``trained_on`` (SHA-256 of the
            frames' files, with those its encoder was pre-trained on).
    """

    network: DepthNet
    facts: dict

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "b h w 3"]) -> DepthBelief:
        """Depth of images, in the unit of the training: its median depth.

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
        return DepthBelief(-inverse.log(), self.facts["spread"] * scale)

    def save(self, path: Path) -> None:
        """Write one safetensors file."""
        write_tensors(path, dict(self.network.state_dict()), self.facts)


@torch.no_grad()
def depth_model(module: DepthTraining, clips: Sequence[Clip], held_out: GroupSet) -> DepthModel:
    """The network of a training, with its uncertainty corrected on frames it has not learned from.

    What is corrected is one factor: how far depth is off there from the teacher's or, without one,
    from what other frames say, against what the network believes.
    """
    network = module.depth.eval()
    numbers = range(0, len(held_out), -(-len(held_out) // _ASKED))
    ratios = [module.surprise(collate([held_out[i]])).cpu().numpy() for i in numbers]
    spread = float(np.quantile(np.concatenate(ratios), SHARE)) / -math.log1p(-SHARE)
    settings = module.settings
    focal = [
        float(module.log_focal[i].exp() if lens is None else lens.focal[0] / lens.width)
        for i, lens in enumerate(clip.lens for clip in clips)
    ]
    facts = {
        "network": settings.network,
        "normalise": isinstance(network.encoder.norm1, torch.nn.GroupNorm),
        "height": settings.height,
        "width": settings.width,
        "spread": spread,
        "focal": focal,
        "trained_on": sorted(network.encoder.seen.union(*(clip.prints for clip in clips))),
    }
    network.heads = network.heads[-1:]  # the finest scale
    return DepthModel(network, facts)


def load_depth_model(path: Path) -> DepthModel:
    """Read what ``invgraph train depth`` wrote.

    Args:
        path: the file, or the run folder with ``model.safetensors``.

    Raises:
        ValueError: the file is missing, damaged or no depth model.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.safetensors"
    stored = read_tensors(path, "train again or restore it")
    if stored is None:
        raise ValueError(f"{path} does not exist; give what `invgraph train depth` wrote.")
    tensors, facts = stored
    try:
        size, normalise = facts["network"], facts["normalise"]
        if size not in SIZES:
            raise KeyError(size)
        network = DepthNet(ResNet(size, normalise=normalise))
        network.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        remedy = "give what `invgraph train depth` wrote"
        raise ValueError(f"{path} is no depth model; {remedy}.") from error
    return DepthModel(network.eval(), facts)
