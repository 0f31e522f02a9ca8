"""What was inferred about the scene in each photo, a line of JSON each."""

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from invgraph.files.atomic import append_text

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class HypothesisRecord:
    """One explanation of a photo, in numbers.

    Attributes:
        probability: of it.
        viewpoint: from where the object is seen: azimuth from its z axis towards its x axis, and
            elevation over its horizon, degrees.
        distance_m: from the camera to the object's middle.
        sigma_mm: of the position, root of the summed variances.
        sigma_deg: of the rotation, the same.
        tint: linear RGB that the albedo is multiplied by.
        roughness: of the surface.
        camera_from_object: the pose, row by row, metres.
    """

    probability: float
    viewpoint: Numbers
    distance_m: float
    sigma_mm: float
    sigma_deg: float
    tint: Numbers
    roughness: float
    camera_from_object: tuple[Numbers, ...]


@dataclass(frozen=True)
class SceneRecord:
    """What was inferred about one photo.

    Attributes:
        frame: the photo's name.
        stem: of its files in the run folder.
        found: whether the object is there; if not there are neither hypotheses nor a light.
        score: the probability that it is.
        present: the same by the finder, which saw no more than the photo at a glance.
        agreement: of the photo's pattern with the likeliest scene's, up to 1.
        seconds: that it took.
        hypotheses: the likeliest first.
        towards: where most light comes from, unit, along the camera's axes.
        uneven: by what share of the mean light the light from there exceeds it.
        light_cone_deg: half-angle of the cone about ``towards`` that should hold it in 90 %.
        depth: nearest and farthest distance along the axis of the view, m.
        guess: viewpoints of samples of the encoder's guess, as in :class:`HypothesisRecord`.
        belief: of samples of the belief after descent.
    """

    frame: str
    stem: str
    found: bool
    score: float
    present: float
    agreement: float
    seconds: float
    hypotheses: tuple[HypothesisRecord, ...] = ()
    towards: Numbers = ()
    uneven: float = 0.0
    light_cone_deg: float = 0.0
    depth: Numbers = ()
    guess: tuple[Numbers, ...] = ()
    belief: tuple[Numbers, ...] = ()


def append_record(path: Path, record: SceneRecord) -> None:
    """Add a line."""
    append_text(path, json.dumps(asdict(record), allow_nan=False) + "\n")


def read_records(path: Path) -> list[SceneRecord]:
    """The records of a file, the last about each photo; damaged lines are left out.

    There are none where there is no such file.
    """
    found: dict[str, SceneRecord] = {}
    if not path.is_file():
        return []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = _record(json.loads(line))
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            continue
        found[record.frame] = record
    return list(found.values())


def best_of(records: list[SceneRecord]) -> SceneRecord | None:
    """The one whose photo agrees most, the first of equals; None if the object is in none."""
    return max((r for r in records if r.found), key=lambda record: record.agreement, default=None)


def _record(values: dict[str, Any]) -> SceneRecord:
    record = SceneRecord(
        str(values["frame"]),
        str(values["stem"]),
        bool(values["found"]),
        score=_number(values["score"]),
        present=_number(values["present"]),
        agreement=_number(values["agreement"]),
        seconds=_number(values["seconds"]),
    )
    if not record.found:
        return record
    return replace(
        record,
        hypotheses=tuple(_hypothesis(entry) for entry in values["hypotheses"]),
        towards=_numbers(values["towards"], 3),
        uneven=_number(values["uneven"]),
        light_cone_deg=_number(values["light_cone_deg"]),
        depth=_numbers(values["depth"], 2),
        guess=tuple(_numbers(pair, 2) for pair in values["guess"]),
        belief=tuple(_numbers(pair, 2) for pair in values["belief"]),
    )


def _hypothesis(values: dict[str, Any]) -> HypothesisRecord:
    return HypothesisRecord(
        probability=_number(values["probability"]),
        viewpoint=_numbers(values["viewpoint"], 2),
        distance_m=_number(values["distance_m"]),
        sigma_mm=_number(values["sigma_mm"]),
        sigma_deg=_number(values["sigma_deg"]),
        tint=_numbers(values["tint"], 3),
        roughness=_number(values["roughness"]),
        camera_from_object=_matrix(values["camera_from_object"]),
    )


def _matrix(values: Any) -> tuple[Numbers, ...]:
    rows = tuple(_numbers(row, 4) for row in values)
    if len(rows) != 4:
        raise ValueError(f"expected 4 rows but got {len(rows)}.")
    return rows


def _numbers(values: Any, count: int) -> Numbers:
    numbers = tuple(_number(value) for value in values)
    if len(numbers) != count:
        raise ValueError(f"expected {count} numbers but got {len(numbers)}.")
    return numbers


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a finite number but got {value!r:.40}.")
    return float(value)
