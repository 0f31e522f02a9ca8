"""What a run folder holds, read without trust: a killed run lacks files, names are hostile."""

import csv
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from invgraph.data.reading import checked_pose
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens, checked_lens
from invgraph.runs.facts import Kind
from invgraph.runs.folder import CAMERAS, LOG, METRICS, read_run_file

ROLES = ("photo", "render", "difference", "depth")
FILM, RERUN_LOG = "flythrough.mp4", "recording.rrd"
TUM, KITTI, POINTS = "trajectory_tum.txt", "trajectory_kitti.txt", "points.ply"
# Of an object that was followed through photos.
TRACK, HYPOTHESES = "poses.csv", "hypotheses.jsonl"
TRACK_FILM, OVERLAYS = "overlay.mp4", "overlays"
# Of scenes that were inferred.
SCENES, TURNTABLE = "scenes.jsonl", "turntable.mp4"
FILMS: dict[Kind, str] = {"pose": TRACK_FILM, "scenes": TURNTABLE}

# What a finished run of each kind has besides its scores. A place keeps its light in its colours,
# and an object that was found in no photo has no scene.
_WANTED: dict[Kind, set[str]] = {
    "object": {"cameras", "log", "scene", "light", "pictures"},
    "place": {"cameras", "log", "scene", "pictures"},
    "pose": {"cameras", "log", "pictures"},
    "depth": {"log"},
    "encoder": {"log"},
    "scene": {"log"},
    "inference": {"log"},
    "scenes": {"log"},
    "odometry": {"cameras", "log"},
}


@dataclass(frozen=True)
class ScoredView:
    """One photo with its scores; ``pictures`` maps a role of ``ROLES`` to a file."""

    name: str
    split: str
    scores: dict[str, float]
    pictures: dict[str, Path]


@dataclass(frozen=True)
class CameraRecord:
    """With what camera one photo was taken; in double precision."""

    name: str
    split: str
    camera: Camera

    @property
    def camera_from_world(self) -> np.ndarray:
        return self.camera.camera_from_world.numpy()

    @property
    def centre(self) -> np.ndarray:
        return -self.camera_from_world[:3, :3].T @ self.camera_from_world[:3, 3]


@dataclass(frozen=True)
class RunContents:
    """What can be read of a run; ``missing`` says in words what a finished one would add.

    ``points``, ``film`` and ``rerun_log`` are not in every finished run. ``track`` is the table of
    an object's poses, where the run followed one; its film is another.
    """

    path: Path
    kind: Kind
    name: str
    metrics: dict[str, Any]
    log: list[dict[str, Any]]
    views: list[ScoredView]
    poses: list[CameraRecord]
    previews: list[tuple[int, Path]]
    light_ball: Path | None
    glb: Path | None
    points: Path | None
    film: Path | None
    rerun_log: Path | None
    track: Path | None
    missing: list[str]


def read_run(path: str | Path) -> RunContents:
    """Read what is there.

    Raises:
        ValueError: ``path`` is not a folder, holds no run or one of another version.
    """
    path = Path(path)
    facts = read_run_file(path)
    kind: Kind = facts["kind"]
    missing: list[str] = []
    wanted = _WANTED[kind]
    unasked: list[str] = []  # what a run of this kind need not have
    track = _inside(path, TRACK)
    held_out = kind in ("object", "place", "depth", "encoder")
    scores = "the scores on held-out photos" if held_out else "the scores"
    metrics = _read_json(path, METRICS, scores, missing)
    unfinished = metrics.get("unfinished")
    missing += map(str, unfinished if isinstance(unfinished, list) else [])
    told = missing if "cameras" in wanted else unasked
    cameras = _read_json(path, CAMERAS, "the camera positions", told)
    log = _read_log(path, missing if "log" in wanted else unasked)
    glb = _inside(path, "scene.glb")
    if glb is None and "scene" in wanted:
        missing.append("scene.glb (the reconstructed mesh)")
    light_ball = _inside(path, "renders/light_ball.png")
    if light_ball is None and "light" in wanted:
        missing.append("renders/light_ball.png (the light)")
    pictures = _find_pictures(path)
    if not pictures and "pictures" in wanted:
        missing.append("renders/*_photo.png and *_render.png (the comparisons)")
    previews = _find_previews(path)
    views = _views(metrics, pictures)
    film_name = FILMS.get(kind, FILM)
    poses = _poses(cameras)
    listed = cameras.get("frames")
    if lost := (len(listed) if isinstance(listed, list) else 0) - len(poses):
        missing.append(f"{CAMERAS} (the camera positions): {lost} of them are damaged")
    points, film, rerun_log = (_inside(path, name) for name in (POINTS, film_name, RERUN_LOG))
    return RunContents(
        path,
        kind,
        facts["name"],
        metrics,
        log,
        views,
        poses,
        previews,
        light_ball,
        glb,
        points,
        film,
        rerun_log,
        track,
        missing,
    )


def read_cameras(run: str | Path) -> list[CameraRecord]:
    """The cameras of a run; none when ``cameras.json`` is absent or damaged."""
    run = Path(run)
    return _poses(_read_json(run, CAMERAS, "", []))


def finite(value: Any) -> float | None:
    """``value`` as a finite float, or None when it is anything else (booleans included)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _inside(run: Path, name: str) -> Path | None:
    """The file ``name`` of the run, unless absent, not a file, or a link out of the folder."""
    file = run / name
    if not file.is_file() or not file.resolve().is_relative_to(run.resolve()):
        return None
    return file


def _read_json(run: Path, name: str, what: str, missing: list[str]) -> dict[str, Any]:
    file = _inside(run, name)
    if file is None:
        missing.append(f"{name} ({what})")
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        missing.append(f"{name} ({what}): the file is damaged")
        return {}
    return value


def _read_log(run: Path, missing: list[str]) -> list[dict[str, Any]]:
    """Rows with at least a finite time; the last one may have been cut off by a kill."""
    file = _inside(run, LOG)
    if file is None:
        missing.append("log.csv (the curves)")
        return []
    text = file.read_text(encoding="utf-8", errors="replace").replace("\0", "")
    try:
        rows = list(csv.DictReader(text.splitlines()))
    except csv.Error:
        rows = []
    rows = [row for row in rows if finite(row.get("seconds")) is not None and None not in row]
    if not rows:
        missing.append("log.csv (the curves): no readable line")
    return rows


def _find_pictures(run: Path) -> dict[str, dict[str, Path]]:
    """Frame stem -> role -> file, for every stem that has a photo and a render."""
    found: dict[str, dict[str, Path]] = {}
    for role in ROLES:
        for file in sorted((run / "renders").glob(f"*_{role}.png")):
            inside = _inside(run, f"renders/{file.name}")
            if inside is not None:
                found.setdefault(file.name.removesuffix(f"_{role}.png"), {})[role] = inside
    return {stem: roles for stem, roles in found.items() if {"photo", "render"} <= roles.keys()}


def _find_previews(run: Path) -> list[tuple[int, Path]]:
    found = []
    for file in (run / "renders").glob("preview_*.png"):
        step = re.fullmatch(r"preview_(\d{1,12})\.png", file.name)
        inside = _inside(run, f"renders/{file.name}")
        if step and inside is not None:
            found.append((int(step[1]), inside))
    return sorted(found)


def _entries(record: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = record.get(key)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _views(metrics: dict[str, Any], pictures: dict[str, dict[str, Path]]) -> list[ScoredView]:
    """Scored views first, in the order of metrics.json, then pictures that nothing scored."""
    views, left = [], dict(pictures)
    for entry in _entries(metrics, "views"):
        name = str(entry.get("name", ""))
        scores = {
            key: number for key, value in entry.items() if (number := finite(value)) is not None
        }
        scores.pop("name", None)
        stem = next((stem for stem in left if _same_photo(stem, name)), "")
        roles = left.pop(stem, {})
        views.append(ScoredView(name, str(entry.get("split", "")), scores, roles))
    return views + [ScoredView(stem, "test", {}, roles) for stem, roles in left.items()]


def _poses(cameras: dict[str, Any]) -> list[CameraRecord]:
    return [pose for entry in _entries(cameras, "frames") if (pose := _pose(entry)) is not None]


def _same_photo(stem: str, name: str) -> bool:
    """Whether a file stem such as ``0003_left_eye`` was made from the photo ``left eye.png``."""
    safe = re.sub(r"[^A-Za-z0-9]+", "_", Path(name).stem).strip("_")[:40]
    return stem == name or re.sub(r"^\d{4,}_", "", stem) == safe


def _pose(entry: dict[str, Any]) -> CameraRecord | None:
    try:
        pose, focal, principal = (
            torch.tensor(entry[key], dtype=torch.float64)
            for key in ("camera_from_world", "focal", "principal")
        )
        checked_pose(pose.numpy(), CAMERAS)
        bent = entry.get("distortion")
        distortion = None if bent is None else torch.tensor(bent, dtype=torch.float64)
        size = (int(entry["height"]), int(entry["width"]))
        lens = Lens(focal, principal, *size, distortion, entry.get("model", "brown"))
        if lens.batch_shape:
            return None
        camera = Camera(checked_lens(lens, CAMERAS), pose)
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return CameraRecord(str(entry.get("name", "")), str(entry.get("split", "")), camera)
