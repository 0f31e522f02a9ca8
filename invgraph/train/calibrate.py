"""The outcome of a training of depth, with its uncertainty corrected."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from invgraph.encoders import DepthModel
from invgraph.train.clips import Clip
from invgraph.train.depth_module import DepthTraining
from invgraph.train.frame_groups import GroupSet, collate

SHARE = 0.9  # of the truths that an interval of this name should hold


@torch.no_grad()
def depth_model(
    module: DepthTraining, clips: Sequence[Clip], held_out: GroupSet, metres: float | None
) -> DepthModel:
    """The network of a training, with its uncertainty corrected on frames it has not learned from.

    What is corrected is one factor: how far depth is off there from the teacher's or, without one,
    from what other frames say, against what the network predicts; 1 where nothing says anything.
    ``metres``, the unit of depth by stereo pairs, is told where every recording has pairs.
    """
    network = module.depth.eval()
    groups = (collate([held_out[i]]) for i in range(len(held_out)))
    ratios = [module.surprise(group).cpu().numpy() for group in groups]
    known = np.concatenate(ratios)
    spread = float(np.quantile(known, SHARE)) / -math.log1p(-SHARE) if len(known) else 1.0
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
        "metres": metres if all(clip.right is not None for clip in clips) else None,
        "trained_on": sorted(network.encoder.seen.union(*(_prints(clip) for clip in clips))),
    }
    network.heads = network.heads[-1:]  # the finest scale
    return DepthModel(network, facts)


def _prints(clip: Clip) -> tuple[str, ...]:
    return clip.prints + (() if clip.right is None else clip.right.prints)
