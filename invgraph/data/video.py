"""Videos, as the photographs worth keeping."""

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from invgraph.data.cache import cache_folder
from invgraph.data.capture import Capture
from invgraph.data.frame import make_frame
from invgraph.data.reading import Unreadable, held_out
from invgraph.data.video_frames import Look, look_of, small_grey, upright
from invgraph.files.atomic import write_atomically, writing
from invgraph.files.opening import require_memory
from invgraph.files.pictures import encode_jpeg

SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".3gp")
_MOST_FRAMES = 300
_COMPARED_WIDTH = 640  # sharpness and likeness are judged at this size
_BLOCK = 8
_LIKE_LEVELS = 0.5  # mean difference of block means, of 255, below which frames are the same
_BLURRED = 0.3  # of the neighbours' median sharpness
_NEIGHBOURS = 10  # to either side
_VERSION = 2  # of the files in the cache


@dataclass(frozen=True)
class _Kept:
    name: str
    time: float | None
    sharpness: float


def read_video(
    path: str | Path, *, stride: int | None = None, work: str | Path | None = None
) -> Capture:
    """Read a video as upright photographs; cameras are unknown.

    Of every ``stride`` frames the sharpest is taken. It is dropped if it looks like the last one
    kept, or if it is much blurrier than its neighbours in time; every dropped frame is listed in
    ``Capture.skipped``. Frames are decoded once, one at a time, into JPEG files in a folder of
    their own whose name depends on the video's path, size and time of change and on ``stride``; a
    later call finds them there. Rotation, mirroring, pixel shape and colours from the video's
    metadata are applied.

    Args:
        path: the video file.
        stride: frames per photograph; the smallest that gives at most 300 when left out.
        work: folder for the decoded frames; ``cache_folder() / "videos"`` when left out.

    Raises:
        ValueError: not a readable video, high dynamic range, or fewer than two frames are worth
            keeping.
    """
    path = Path(path)
    work = None if work is None else Path(work)
    if stride is not None and stride < 1:
        raise ValueError(f"stride is {stride}, expected at least 1 frame.")
    try:
        status = path.stat()
    except OSError:
        raise ValueError(f"{path} does not exist; give a video file.") from None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is no file but a folder, pipe or device; give a video file.")
    facts = (str(path.resolve()), status.st_size, status.st_mtime_ns, stride, _VERSION)
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    base = work if work is not None else cache_folder() / "videos"
    folder = base / key
    stored = _stored(folder)
    if stored is None:
        stored = _decode_into(path, stride, base, folder)
    unreadable = Unreadable(path)
    unreadable.reasons.extend(stored["skipped"])
    frames = []
    for entry in stored["frames"]:
        with unreadable.skipping(entry["name"]):
            image = folder / f"{entry['name']}.jpg"
            frames.append(make_frame(image, name=entry["name"], time=entry["time"]))
    split = held_out(len(frames), unreadable)
    return Capture(path.stem, tuple(frames), split, skipped=tuple(unreadable.reasons))


def _stored(folder: Path) -> dict[str, Any] | None:
    """The index of a decoded video, if all its frames are still there."""
    try:
        stored = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        frames = [_Kept(**entry) for entry in stored["frames"]]
        there = all((folder / f"{frame.name}.jpg").is_file() for frame in frames)
        return stored if there and isinstance(stored["skipped"], list) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _decode_into(path: Path, stride: int | None, base: Path, folder: Path) -> dict[str, Any]:
    base.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".part-", dir=base))
    try:
        kept, skipped = _extract(path, stride, fresh)
        blurred = _blurred([frame.sharpness for frame in kept])
        for frame, share in zip(kept, blurred, strict=True):
            if share is not None:
                (fresh / f"{frame.name}.jpg").unlink()
                skipped.append(f"{frame.name}: blurred, {share:.2f} as sharp as its neighbours")
        left = [frame for frame, share in zip(kept, blurred, strict=True) if share is None]
        stored = {"frames": [asdict(frame) for frame in left], "skipped": sorted(skipped)}
        write_atomically(fresh / "index.json", json.dumps(stored).encode())
        if folder.exists():
            shutil.rmtree(folder)
        # Should another process have finished the same frames meanwhile, its folder stays.
        with contextlib.suppress(OSError):
            os.rename(fresh, folder)
        return stored
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _extract(path: Path, stride: int | None, folder: Path) -> tuple[list[_Kept], list[str]]:
    """Write the sharpest frame of each window that differs from the one before."""

    kept: list[_Kept] = []
    skipped: list[str] = []
    last: np.ndarray | None = None
    for index, frame, sharpness, grey, look in _sharpest(path, stride, skipped):
        name = f"frame_{index:06d}"
        sketch = _block_means(grey)
        if last is not None and last.shape == sketch.shape:
            change = float(np.abs(sketch - last).mean())
            if change < _LIKE_LEVELS:
                skipped.append(f"{name}: looks like {kept[-1].name}")
                continue
        last = sketch
        picture = encode_jpeg(upright(frame, look, path), 95, full_color=True)
        photo = folder / f"{name}.jpg"
        with writing(photo):
            photo.write_bytes(picture)
        kept.append(_Kept(name, None if frame.time is None else float(frame.time), sharpness))
    return kept, skipped


def _sharpest(
    path: Path, stride: int | None, skipped: list[str]
) -> Iterator[tuple[int, Any, float, np.ndarray, Look]]:
    """(index, frame, sharpness, small grey image, look) of each window's sharpest frame."""
    best: tuple[int, Any, float, np.ndarray, Look] | None = None
    window = 0
    for index, frame, span, look in _frames(path, stride, skipped):
        if best is not None and index // span != window:
            yield best
            best = None
        window = index // span
        grey = small_grey(frame, _COMPARED_WIDTH, path)
        sharpness = _sharpness(grey)
        if best is None or sharpness > best[2]:
            best = (index, frame, sharpness, grey, look)
    if best is not None:
        yield best


def _frames(
    path: Path, stride: int | None, skipped: list[str]
) -> Iterator[tuple[int, Any, int, Look]]:
    """(index, decoded frame, frames per window, look) of all frames that can be decoded."""
    av = _import_av()
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise ValueError(f"{path} has no pictures, only sound; give a video.")
            stream = container.streams.video[0]
            require_memory(path, stream.height, stream.width)
            stream.thread_type = "AUTO"
            span = stride or max(1, -(-_length(container, stream) // _MOST_FRAMES))
            index = 0
            for packet in container.demux(stream):
                try:
                    decoded = packet.decode()
                except av.error.FFmpegError as error:
                    skipped.append(f"frame_{index:06d}: cannot be decoded ({error.strerror})")
                    index += 1
                    continue
                for frame in decoded:
                    if frame.is_corrupt:
                        skipped.append(f"frame_{index:06d}: damaged")
                    else:
                        yield index, frame, span, look_of(stream, path)
                    index += 1
            if stream.frames > index:
                lost = stream.frames - index
                skipped.append(f"{lost} frames: announced by the file but not decodable")
    except av.error.FFmpegError as error:
        reason = " ".join(str(error.strerror).split())[:120]
        raise ValueError(
            f"{path} cannot be decoded as a video ({reason}); convert it to MP4 with H.264."
        ) from error


def _import_av() -> Any:
    try:
        import av
    except ImportError:
        raise ImportError("reading videos needs PyAV: pip install av") from None
    return av


def _length(container: Any, stream: Any) -> int:
    """About how many frames there are; 1 where the file does not say."""
    if stream.frames:
        return stream.frames
    rate = float(stream.average_rate or 0)
    return max(1, round((container.duration or 0) / 1e6 * rate))


def _sharpness(grey: np.ndarray) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al., Diatom autofocusing, 2000)."""
    if min(grey.shape) < 3:
        return 0.0
    centre = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * centre).var())


def _block_means(grey: np.ndarray) -> np.ndarray:
    rows, columns = (max(1, side // _BLOCK) for side in grey.shape)
    cut = grey[: rows * _BLOCK, : columns * _BLOCK]
    if min(grey.shape) < _BLOCK:
        return grey
    return cut.reshape(rows, _BLOCK, columns, _BLOCK).mean((1, 3))


def _blurred(sharpness: list[float]) -> list[float | None]:
    """Per frame its sharpness relative to its neighbours where that is too low, else None."""
    found: list[float | None] = []
    for index, value in enumerate(sharpness):
        near = sharpness[max(0, index - _NEIGHBOURS) : index + _NEIGHBOURS + 1]
        usual = float(np.median(near))
        found.append(value / usual if usual > 0 and value < _BLURRED * usual else None)
    return found
