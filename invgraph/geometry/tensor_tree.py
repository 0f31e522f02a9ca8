"""Named tensors inside nested dataclasses, tuples, lists and dicts.

A tensor's path says where it lies: names of fields, keys and places in sequences with dots between
them, such as ``objects.0.world_from_object`` in a scene. A tensor by itself has the path "".
Whatever a dataclass works out for itself (fields that its constructor does not take) has no path.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor

T = TypeVar("T")


def flatten(value: object) -> dict[str, Tensor]:
    """Every tensor under its path, in the order of fields, keys and places.

    Raises:
        ValueError: a key of a dict is no text, or has a dot in it.
    """
    found: dict[str, Tensor] = {}
    _collect(value, "", found)
    return found


def get(value: object, path: str) -> Tensor:
    """The tensor at a path.

    Raises:
        ValueError: there is none; the message lists paths that come near.
    """
    here: Any = value
    for name in path.split(".") if path else ():
        here = (_children(here) or {}).get(name)
    if not isinstance(here, Tensor):
        raise _unknown(value, path)
    return here


def replaced(value: T, tensors: Mapping[str, Tensor]) -> T:
    """A copy with other tensors at some paths; what lies elsewhere is shared, not copied.

    Dataclasses on the way check their contents anew, once all their tensors are in place.

    Args:
        value: as :func:`flatten` takes it.
        tensors: path to new tensor, of any shape and type that the dataclasses allow.

    Raises:
        ValueError: a path has no tensor (the message lists paths that come near), or the new
            tensors do not fit.
    """
    changes: dict[str, Any] = {}
    for path, tensor in tensors.items():
        get(value, path)
        *way, last = path.split(".")
        here = changes
        for name in way:
            here = here.setdefault(name, {})
        here[last] = tensor
    return changes[""] if "" in changes else _exchanged(value, changes)


def map_tensors(function: Callable[[Tensor], Tensor], value: T) -> T:
    """A copy in which every tensor, however deep, is replaced by its image.

    Args:
        function: called once for each tensor.
        value: a dataclass, tuple, list, dict, tensor or anything else; anything else is kept.
    """
    if isinstance(value, Tensor):
        return function(value)  # type: ignore[return-value]
    children = _children(value)
    if children is None:
        return value
    return _rebuilt(value, {name: map_tensors(function, x) for name, x in children.items()})


@functools.cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind) if field.init)


def _children(value: Any) -> dict[Any, Any] | None:
    """What lies directly inside, by name; None for what holds nothing that has a name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: getattr(value, name) for name in _field_names(type(value))}
    if isinstance(value, (tuple, list)):
        return {str(place): item for place, item in enumerate(value)}
    return value if isinstance(value, dict) else None


def _rebuilt(value: T, children: dict[Any, Any]) -> T:
    """A copy of ``value`` that holds all these in place of its own."""
    if dataclasses.is_dataclass(value):
        return dataclasses.replace(value, **children)  # type: ignore[return-value]
    if isinstance(value, dict):
        return children  # type: ignore[return-value]
    if hasattr(value, "_fields"):  # a named tuple
        return type(value)(*children.values())  # type: ignore[call-arg]
    return type(value)(children.values())  # type: ignore[call-arg]


def _exchanged(value: Any, changes: dict[str, Any] | Tensor) -> Any:
    if isinstance(changes, Tensor):
        return changes
    children = _children(value)
    assert children is not None
    return _rebuilt(
        value, children | {name: _exchanged(children[name], x) for name, x in changes.items()}
    )


def _collect(value: Any, path: str, found: dict[str, Tensor]) -> None:
    if isinstance(value, Tensor):
        found[path] = value
    for name, item in (_children(value) or {}).items():
        if not isinstance(name, str) or "." in name:
            raise ValueError(
                f"keys of named tensors should be text without dots but one is {name!r}."
            )
        _collect(item, f"{path}.{name}" if path else name, found)


def _unknown(value: object, path: str) -> ValueError:
    import difflib

    paths = list(flatten(value))
    near = difflib.get_close_matches(path, paths, 3, 0.5) or paths[:3]
    listed = ", ".join(near) if near else "there are no tensors"
    return ValueError(f"there is no tensor at {path!r}; near it: {listed}.")
