"""Walking over the tensors inside nested dataclasses, tuples and dicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

T = TypeVar("T")


def map_tensors(function: Callable[[Tensor], Tensor], value: T) -> T:
    """A copy of ``value`` in which every tensor, however deep, is replaced by its image.

    Args:
        function: called once for each tensor.
        value: a dataclass, tuple, list, dict, tensor or anything else; anything else is kept.
    """
    if isinstance(value, Tensor):
        return function(value)  # type: ignore[return-value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {
            field.name: map_tensors(function, getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **changed)
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(function, item) for item in value)  # type: ignore
    if isinstance(value, dict):
        return {key: map_tensors(function, item) for key, item in value.items()}  # type: ignore
    return value
