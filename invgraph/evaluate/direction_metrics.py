"""How far a direction is from the true one."""

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.evaluate.input_checks import check_same


def angular_error_deg(
    direction: Float[Tensor, "*batch 3"], reference: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch"]:
    """Angle between directions of any length, degrees; accurate near 0 and 180."""
    check_same("direction", direction, "reference", reference)
    cross = torch.linalg.cross(direction.double(), reference.double(), dim=-1).norm(dim=-1)
    dot = (direction.double() * reference.double()).sum(-1)
    return torch.rad2deg(torch.atan2(cross, dot)).to(direction.dtype)
