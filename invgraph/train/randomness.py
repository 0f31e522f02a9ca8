"""Random numbers for dreams."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def uniform(
    generator: torch.Generator, count: int, low: float, high: float, channels: int = 1
) -> Float[Tensor, "count c"]:
    """Independent numbers."""
    return low + (high - low) * torch.rand(count, channels, generator=generator)


def log_uniform(
    generator: torch.Generator, count: int, low: float, high: float, channels: int = 1
) -> Float[Tensor, "count c"]:
    """Independent numbers above zero, whose logarithms are uniform."""
    return uniform(generator, count, math.log(low), math.log(high), channels).exp()
