"""``recover_cameras``: from photographs to the same photographs with cameras."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.data.capture import Capture
from invgraph.data.frame import Frame
from invgraph.data.reading import checked_pose
from invgraph.files.atomic import write_atomically
from invgraph.files.tensors import read_tensors, write_tensors
from invgraph.fitting.cameras.diagnosis import (
    MatchGraph,
    check_features,
    check_quality,
    explain_missing,
)
from invgraph.fitting.cameras.features import extract_features, open_database
from invgraph.fitting.cameras.gauge import normalise
from invgraph.fitting.cameras.lens_groups import LensGroup, group_lenses
from invgraph.fitting.cameras.mapping import map_photos, refine
from invgraph.fitting.cameras.pairs import choose_pairs, match
from invgraph.fitting.cameras.quality import Quality, measure
from invgraph.geometry import convert
from invgraph.geometry.camera import Camera
from invgraph.geometry.distortion import COEFFICIENTS
from invgraph.geometry.lens import Lens, checked_lens
from invgraph.runs.progress import Progress

_RESULT, _DATABASE, _KEY = "cameras.safetensors", "features.db", "photos.json"
_VERSION = 2  # of the files in the work folder


@dataclass(frozen=True, eq=False)
class _Recovered:
    """What is kept of a reconstruction: the photos (from 0) that have cameras, and the rest."""

    placed: list[int]
    cameras: list[Camera]
    points: Float[Tensor, "n 3"]
    reasons: list[str]
    quality: Quality


def recover_cameras(
    capture: Capture,
    work: str | Path,
    *,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Capture:
    """Find where every photo of a capture was taken, and sparse points of the scene.

    Scale-invariant features, matches that a rigid scene allows, incremental mapping and bundle
    adjustment. Photos of one size and one EXIF focal length share a lens: one focal length,
    principal point and radial distortion; a lens the capture knows (``Frame.lens``) stays as it is.
    Cameras the capture has are not used. Where photos have masks only features on the object count,
    so an object may turn in front of a camera that stands still. Held-out photos take part: without
    a camera they could not be compared with anything.

    The world's frame is arbitrary and made regular: origin at the median of the points, z up as far
    as the photos were taken upright, the first photo looks along +y, and one unit is the usual
    distance between a camera and what it sees. Equal photos and seeds give equal cameras up to
    rounding.

    Args:
        capture: photographs; ``time`` of its frames tells a recording from a collection.
        work: folder for what is found; after a kill the next call goes on there, and once finished
            it returns the same cameras at once.
        threads: to use; as many as torch when left out.
        seed: of the random choices.
        progress: hears the stages.

    Returns:
        The photos that have cameras now, with ``points``; the others are listed in ``skipped``.

    Raises:
        ValueError: a single photo; too little detail; photos without enough in common or in
            unconnected groups; a camera that only turned; cameras that explain the photos badly.
        ImportError: pycolmap is not installed.

    Source:
        Schönberger and Frahm, Structure-from-Motion Revisited (2016).
    """
    work = Path(work)
    frames = capture.frames
    if len(frames) < 2:
        raise ValueError(
            f"{capture.name}: {len(frames)} photo{'' if len(frames) == 1 else 's'}, but cameras "
            "are found by comparing photos; add some taken from other places, each overlapping the "
            "next by half."
        )
    work = Path(work)
    key = _key(frames, seed)
    found = _load(work, key)
    if found is None:
        _prepare(work, key)
        count = threads if threads is not None else torch.get_num_threads()
        found = _recover(capture, work, count, seed, progress or Progress())
        _save(work, key, found)
        for leftover in (*work.glob(f"{_DATABASE}*"), work / "pairs.txt"):
            leftover.unlink(missing_ok=True)
    return _with_cameras(capture, found)


def recovered_quality(work: str | Path) -> Quality:
    """The figures of the reconstruction that ``recover_cameras`` left in a folder.

    Raises:
        ValueError: there is none.
    """
    stored = _stored(Path(work))
    if stored is None:
        raise ValueError(f"{work} holds no recovered cameras; run recover_cameras first.")
    return Quality(**stored[1]["quality"])


def _recover(
    capture: Capture, work: Path, threads: int, seed: int, progress: Progress
) -> _Recovered:
    frames, name = capture.frames, capture.name
    names = [frame.name for frame in frames]
    lenses, lens_of = group_lenses(frames)
    path = work / _DATABASE
    database = open_database(path, frames, lenses, lens_of)
    try:
        unreadable = extract_features(
            database, frames, lenses, lens_of, threads, progress.part(0.3)
        )
        counts = [database.num_keypoints_for_image(i + 1) for i in range(len(frames))]
        check_features(name, counts, any(frame.mask_source for frame in frames))
        ordered = all(frame.time is not None for frame in frames)
        pairs = choose_pairs(database, len(frames), ordered)
    finally:
        database.close()
    match(path, pairs, threads, seed, progress.part(0.6))
    database = open_database(path, frames, lenses, lens_of)
    try:
        matches = MatchGraph(database, names, lens_of, lenses)
    finally:
        database.close()
    matches.check(name)
    models = map_photos(path, len(frames), lenses, threads, seed, progress.part(0.9))
    members = [sorted(i - 1 for i in model.reg_image_ids()) for model in models]
    explain_missing(name, names, members, matches)
    model, placed = models[0], members[0]
    progress.stage("adjusting all cameras")
    refine(model, lenses, threads)
    scale = float(np.median([lenses[lens_of[i]].scale for i in placed]))
    quality = measure(model, len(frames), scale)
    check_quality(name, quality, max(max(frames[i].size) for i in placed))
    normalise(model)
    progress.update(1.0, quality.summary())
    cameras = [_camera(model, i, lenses[lens_of[i]]) for i in placed]
    points = np.stack([model.point3D(i).xyz for i in sorted(model.point3D_ids())])
    broken = {reason.split(":")[0] for reason in unreadable}
    apart = [
        f"{names[i]}: too little in common with the other photos to find its camera"
        for i in sorted(set(range(len(frames))) - set(placed))
        if names[i] not in broken
    ]
    return _Recovered(
        placed, cameras, torch.from_numpy(points.astype(np.float32)), unreadable + apart, quality
    )


def _camera(model: Any, index: int, group: LensGroup) -> Camera:
    """A camera of the engine in our terms, in pixels of the whole photograph."""
    image = model.image(index + 1)
    if group.given is not None:
        lens = group.given.to(torch.float64)
    else:
        found = model.camera(image.camera_id)
        params = torch.tensor(np.asarray(found.params), dtype=torch.float64)
        lens = convert.lens_from_colmap(found.model_name, params, *group.size)
        lens = replace(lens, focal=lens.focal / group.scale, principal=lens.principal / group.scale)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3] = torch.tensor(np.asarray(image.cam_from_world().matrix()))
    return Camera(lens, pose).to(torch.float32)


def _with_cameras(capture: Capture, found: _Recovered) -> Capture:
    frames = tuple(
        replace(capture.frames[i], camera=camera)
        for i, camera in zip(found.placed, found.cameras, strict=True)
    )
    held = set(capture.test)
    test = tuple(place for place, i in enumerate(found.placed) if i in held)
    return replace(
        capture,
        frames=frames,
        test=test or tuple(range(0, len(frames), 8)),
        truth=None if capture.truth is None else capture.truth.only(found.placed),
        box=None,
        points=found.points,
        skipped=(*capture.skipped, *found.reasons),
    )


# The work folder.


def _key(frames: Sequence[Frame], seed: int) -> str:
    """What the result depends on."""
    facts: list[Any] = [_VERSION, seed]
    for frame in frames:
        lens = None if frame.lens is None else frame.lens.facts
        about = [frame.name, frame.size, frame.as_stored, frame.mask_source, frame.time is None]
        facts.append([*about, lens])
        for path in (frame.image_path, frame.mask_path):
            status = path.stat() if path is not None and path.exists() else None
            facts.append([str(path), status and [status.st_size, status.st_mtime_ns]])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _prepare(work: Path, key: str) -> None:
    """An empty work folder, or one in which the same photos were begun."""
    work.mkdir(parents=True, exist_ok=True)
    note = work / _KEY
    if note.exists() and note.read_text(errors="replace") == key:
        return
    for stale in (*work.glob(f"{_DATABASE}*"), work / _RESULT):
        stale.unlink(missing_ok=True)
    write_atomically(note, key.encode())


def _save(work: Path, key: str, found: _Recovered) -> None:
    most = max(map(len, COEFFICIENTS.values()))
    bent = torch.zeros(len(found.cameras), most)
    for row, camera in zip(bent, found.cameras, strict=True):
        if camera.distortion is not None:
            row[: len(camera.distortion)] = camera.distortion
    tensors = {
        "camera_from_world": torch.stack([c.camera_from_world for c in found.cameras]),
        "focal": torch.stack([c.focal for c in found.cameras]),
        "principal": torch.stack([c.principal for c in found.cameras]),
        "distortion": bent,
        "points": found.points,
    }
    facts = {
        "key": key,
        "placed": found.placed,
        "distorted": [c.distortion is not None for c in found.cameras],
        "models": [c.lens.model for c in found.cameras],
        "sizes": [(c.height, c.width) for c in found.cameras],
        "reasons": found.reasons,
        "quality": asdict(found.quality),
    }
    write_tensors(work / _RESULT, tensors, facts)


def _stored(work: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    return read_tensors(work / _RESULT, "delete it to find the cameras again")


def _load(work: Path, key: str) -> _Recovered | None:
    stored = _stored(work)
    if stored is None or stored[1].get("key") != key:
        return None
    try:
        return _recovered(*stored)
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{work / _RESULT} is damaged ({error}); delete it to find the cameras again."
        ) from error


def _recovered(tensors: dict[str, Tensor], facts: dict[str, Any]) -> _Recovered:
    cameras = []
    for k, model in enumerate(facts["models"]):
        height, width = facts["sizes"][k]
        bent = tensors["distortion"][k, : len(COEFFICIENTS[model])]
        lens = Lens(
            tensors["focal"][k],
            tensors["principal"][k],
            height,
            width,
            bent if facts["distorted"][k] else None,
            model,
        )
        pose = tensors["camera_from_world"][k]
        checked_pose(pose.numpy(), _RESULT)
        cameras.append(Camera(checked_lens(lens, _RESULT), pose))
    return _Recovered(
        facts["placed"], cameras, tensors["points"], facts["reasons"], Quality(**facts["quality"])
    )
