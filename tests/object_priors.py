"""Priors of known objects for tests that need other conditions than encoders are trained in."""

import math
from dataclasses import replace

import torch

from invgraph.fitting.scene.object_prior import LIGHT, ObjectPrior
from invgraph.scene.distributions import Gaussian


def in_even_light(known: ObjectPrior) -> ObjectPrior:
    """A prior whose light varies less: orders 0 to 2 by so much of the constant part."""
    light = known.prior.distributions[LIGHT]
    assert isinstance(light, Gaussian)
    orders = torch.tensor([0.1, *3 * [0.45], *5 * [0.25]])
    scale = math.sqrt(4 * math.pi) * orders[:, None].expand(9, 3)
    distributions = {**known.prior.distributions, LIGHT: replace(light, scale=scale)}
    return replace(known, prior=replace(known.prior, distributions=distributions))
