"""Recognising the format of a capture by its files."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from invgraph.data import colmap, kitti, kitti_raw, photos, seven_scenes, stereo, strecha, tum
from invgraph.data.bop import read_bop
from invgraph.data.capture import Capture
from invgraph.data.listing import SUFFIXES, inside, unopened
from invgraph.data.llff import read_llff
from invgraph.data.middlebury import read_middlebury
from invgraph.data.transforms_json import read_transforms_json
from invgraph.data.video import SUFFIXES as VIDEO_SUFFIXES
from invgraph.data.video import read_video


@dataclass(frozen=True)
class Format:
    """A kind of capture that lies in a folder.

    Args:
        kind: its name, for people.
        files: what it is recognised by, for people.
        recognise: whether a folder is of this kind.
        read: the reader; takes the folder.
    """

    kind: str
    files: str
    recognise: Callable[[Path], bool]
    read: Callable[[Path], Capture]


def _videos(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)


def _parameters(path: Path) -> list[Path]:
    return sorted(path.glob("*_par.txt"))


# In this order: a folder may hold files of several kinds, such as photos and a model of them.
FORMATS = (
    Format(
        "transforms.json",
        "transforms.json or transforms_train.json",
        lambda path: any(
            (path / name).is_file() for name in ("transforms.json", "transforms_train.json")
        ),
        read_transforms_json,
    ),
    Format(
        "LLFF",
        "poses_bounds.npy",
        lambda path: (path / "poses_bounds.npy").is_file(),
        read_llff,
    ),
    Format(
        "Middlebury multi-view",
        "one *_par.txt",
        lambda path: len(_parameters(path)) == 1,
        lambda path: read_middlebury(_parameters(path)[0]),
    ),
    Format(
        "COLMAP",
        "cameras and images (.bin or .txt) here or in sparse/0",
        lambda path: colmap.find_model(path) is not None,
        colmap.read_colmap,
    ),
    Format(
        "BOP",
        "scene_camera.json",
        lambda path: (path / "scene_camera.json").is_file(),
        read_bop,
    ),
    Format(
        "Strecha",
        "*.camera here or one folder below",
        lambda path: bool(strecha.camera_files(path)),
        strecha.read_strecha,
    ),
    Format(
        "7-Scenes",
        "frame-*.color.* here or in seq-*",
        lambda path: bool(seven_scenes.sequences(path)),
        seven_scenes.read_seven_scenes,
    ),
    Format("TUM RGB-D", "rgb.txt and rgb", tum.is_tum, tum.read_tum),
    Format(
        "KITTI raw",
        "image_00/data to image_03/data",
        lambda path: kitti_raw.raw_camera(path) is not None,
        kitti_raw.read_kitti_raw,
    ),
    Format(
        "KITTI odometry",
        "calib.txt and image_0 to image_3",
        lambda path: kitti.odometry_camera(path) is not None,
        kitti.read_kitti,
    ),
    Format(
        "stereo pair",
        "im0 and im1, left and right, or X_left and X_right",
        lambda path: stereo.find_pair(path) is not None,
        stereo.read_stereo,
    ),
    Format(
        "photos",
        "photos here or in images",
        lambda path: photos.photo_folder(path) is not None,
        photos.read_photos,
    ),
    Format(
        "video",
        "one video",
        lambda path: len(_videos(path)) == 1,
        lambda path: read_video(inside(path, _videos(path)[0].name, path)),
    ),
)


def read_capture(path: str | Path) -> Capture:
    """Read a capture, recognising its format by its files.

    Only headers of the photographs are read; ``Frame.load`` decodes them one at a time. A video is
    decoded once, into the user's cache folder. Photos that are missing or damaged are left out and
    listed in ``Capture.skipped``.

    Args:
        path: a folder in one of the formats of ``FORMATS``, a video, or the file that lists the
            cameras: ``transforms.json`` (or another JSON of that kind), ``poses_bounds.npy``,
            ``*_par.txt``.

    Raises:
        ValueError: no such folder, no known format, or a file of the capture cannot be used.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path} does not exist; give a capture's folder or a video.")
    if not path.is_dir():
        return replace(_read_file(path), source=path)
    for known in FORMATS:
        if known.recognise(path):
            return replace(known.read(path), kind=known.kind, source=path)
    raise ValueError(f"{path} is no capture: {_found(path)}; looked for {_looked_for()}.")


def _read_file(path: Path) -> Capture:
    if not path.is_file():
        raise ValueError(f"{path} is a pipe or a device; give a folder, a video, or a JSON file.")
    suffix = path.suffix.lower()
    if suffix == ".json":
        return replace(read_transforms_json(path), kind="transforms.json")
    if path.name == "poses_bounds.npy":
        return replace(read_llff(path.parent), kind="LLFF")
    if path.name.endswith("_par.txt"):
        return replace(read_middlebury(path), kind="Middlebury multi-view")
    if suffix in VIDEO_SUFFIXES:
        return replace(read_video(path), kind="video")
    if suffix in SUFFIXES:
        raise ValueError(f"{path} is one photo; give the folder of at least two.")
    raise ValueError(f"{path} is no capture; give a folder, a video, or a JSON file with cameras.")


def _found(path: Path) -> str:
    """What may have been meant, where a folder holds something close to a capture."""
    videos, parameters = _videos(path), _parameters(path)
    if len(videos) > 1:
        return f"it holds {len(videos)} videos, name one of them, such as {videos[0].name}"
    if len(parameters) > 1:
        return f"it holds {len(parameters)} *_par.txt, name one of them"
    scenes = sorted(path.glob("*/scene_camera.json")) + sorted(path.glob("*/*/scene_camera.json"))
    if scenes:
        return f"it holds BOP scenes, name one of them, such as {scenes[0].parent}"
    folders = [folder for folder in (path, path / "images") if folder.is_dir()]
    others = [found for folder in folders for found in unopened(folder)]
    if others:
        name, reason = others[0]
        return f"its {len(others)} images are of kinds that are not read (first {name}: {reason})"
    return "no known files in it"


def _looked_for() -> str:
    return "; ".join(f"{known.files} ({known.kind})" for known in FORMATS)
