"""Beliefs about scenes as safetensors files, without code in them."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from invgraph.files.tensors import read_tensors, write_tensors
from invgraph.scene import domains
from invgraph.scene.unknowns import Unknown, Unknowns

_FORMAT, _VERSION = "invgraph belief", 1
_REMEDY = "infer the scene again or restore it"
_DOMAINS: dict[str, type[domains.Domain]] = {
    kind.__name__: kind
    for kind in (
        *(domains.Free, domains.Positive, domains.UnitInterval, domains.Interval),
        *(domains.Direction, domains.Rotation, domains.RigidPose),
    )
}
Parts = tuple[Unknowns, Tensor, dict[str, Tensor], dict[str, Tensor]]


def write_belief(
    path: str | Path,
    unknowns: Unknowns,
    log_weights: Tensor,
    means: Mapping[str, Tensor],
    scales: Mapping[str, Tensor],
) -> None:
    """Write the parts of a :class:`invgraph.scene.scene_belief.SceneBelief`, bit for bit.

    Raises:
        ValueError: a domain is of a kind that files do not know.
    """
    path = Path(path)
    tensors = {"log_weights": log_weights}
    described = []
    for unknown in unknowns:
        name = type(unknown.domain).__name__
        if _DOMAINS.get(name) is not type(unknown.domain):
            raise ValueError(f"{unknown.path} has the domain {name}, which no file can hold.")
        fields: dict[str, Any] = asdict(unknown.domain)  # type: ignore[call-overload]
        domain = {"name": name, **fields}
        described.append({"path": unknown.path, "domain": domain, "shape": list(unknown.shape)})
        tensors[f"means/{unknown.path}"] = means[unknown.path]
        tensors[f"scales/{unknown.path}"] = scales[unknown.path]
        if unknown.around is not None:
            tensors[f"around/{unknown.path}"] = unknown.around
    facts = {"format": _FORMAT, "version": _VERSION, "unknowns": described}
    write_tensors(path, tensors, facts)


def read_belief(path: str | Path) -> Parts:
    """What :func:`write_belief` wrote.

    Raises:
        ValueError: there is no such file, it is damaged, or it holds something else.
    """
    path = Path(path)
    stored = read_tensors(path, _REMEDY)
    if stored is None:
        raise ValueError(f"{path} does not exist; {_REMEDY}.")
    tensors, facts = stored
    try:
        version = facts["version"]
        if facts["format"] != _FORMAT or type(version) is not int or version != _VERSION:
            raise ValueError(f"format {facts['format']!r:.40}, version {version!r:.20}")
        log_weights = tensors["log_weights"]
        items, means, scales = [], {}, {}
        for entry in facts["unknowns"]:
            name, shape = entry["path"], tuple(int(size) for size in entry["shape"])
            fields = dict(entry["domain"])
            domain = _DOMAINS[fields.pop("name")](**fields)
            unknown = Unknown(name, domain, shape, tensors.get(f"around/{name}"))
            means[name], scales[name] = tensors[f"means/{name}"], tensors[f"scales/{name}"]
            _check(unknown, log_weights, means[name], scales[name])
            items.append(unknown)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{path} holds no belief about a scene ({error}); {_REMEDY}.") from error
    return Unknowns(tuple(items)), log_weights, means, scales


def _check(unknown: Unknown, log_weights: Tensor, mean: Tensor, scale: Tensor) -> None:
    """Refuse tensors that do not go together."""
    hypotheses = log_weights.shape
    parts = [(mean, unknown.coordinates_shape), (scale, (unknown.size, unknown.size))]
    if unknown.around is not None:
        parts.append((unknown.around, unknown.shape))
    for tensor, own in parts:
        batch = tensor.shape[: tensor.ndim - len(own)]
        if tuple(tensor.shape[tensor.ndim - len(own) :]) != own:
            raise ValueError(f"{unknown.path} has a part of shape {tuple(tensor.shape)}")
        if torch.broadcast_shapes(batch, hypotheses) != hypotheses:
            raise ValueError(f"{unknown.path} is of other hypotheses")
