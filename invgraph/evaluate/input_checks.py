"""The refusal of two inputs that differ in size."""

from torch import Tensor


def check_same(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Refuse two inputs that differ in size.

    Raises:
        ValueError: they do.
    """
    if value.shape != other.shape:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)} but {other_name} has {tuple(other.shape)}; "
            "resize one of them first."
        )
