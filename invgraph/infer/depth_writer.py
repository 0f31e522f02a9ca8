"""The folder that ``invgraph infer depth`` writes, frame by frame."""

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.data.reading import checked_pose
from invgraph.data.trajectory_files import Trajectory, write_kitti, write_tum
from invgraph.files.atomic import write_atomically
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import srgb_bytes_from_linear
from invgraph.geometry.lens import Lens
from invgraph.geometry.transforms import invert
from invgraph.infer.cloud import Cloud
from invgraph.infer.depth_film import DepthFilm
from invgraph.infer.depth_rerun_log import blueprint, log_frame, log_path
from invgraph.report.rerun_log import recorded
from invgraph.runs.predictions import INDEX, MILLIMETRE, write_depth, write_index
from invgraph.runs.reader import KITTI, POINTS, RERUN_LOG, TUM

if TYPE_CHECKING:
    from rerun import RecordingStream

FILM = "depth.mp4"
_MEDIAN_LEVEL = 5000  # of the first frame, in the PNG of depth without a unit


class DepthWriter:
    """Writes what a network says about a video; used as a context.

    While it lasts: a depth map per frame (``predictions.write_depth``), a film and a
    recording. When it ends without an error: the trajectory, a coloured point cloud, and
    ``infer.json`` as the last, so a folder with that file is whole. A run that is cut short is
    started again into the same folder. Memory does not grow with the video but for its poses.

    Args:
        folder: to write into; created when missing.
        lens: of the photos, unbatched.
        facts: JSON values for ``infer.json``: ``model`` (what made the depth), ``trained_on``
            (fingerprints of the image files it was trained on), ``metric`` (whether depth is in
            metres), and any others.
        clock: whether the times of frames are seconds; else they are the frames' numbers in their
            recording.

    Attributes:
        files: what was written besides the depth maps, once it has ended.
        notes: what was left out and why, a line each.

    Raises:
        ValueError: ``facts`` lacks one of these three.
    """

    def __init__(
        self, folder: Path, lens: Lens, facts: Mapping[str, Any], *, clock: bool = True
    ) -> None:
        lacking = [key for key in ("model", "trained_on", "metric") if key not in facts]
        if lacking:
            raise ValueError(f"facts of a depth run lack {', '.join(lacking)}; give them.")
        self.files: list[Path] = []
        self.notes: list[str] = []
        self._folder, self._lens, self._facts = folder, lens, dict(facts)
        self._clock = clock
        self._names: dict[str, None] = {}
        self._times: list[float] = []
        self._poses: dict[int, np.ndarray] = {}
        self._pose = np.eye(4)  # the last known
        self._units = MILLIMETRE
        self._cloud = Cloud()
        self._open = contextlib.ExitStack()
        self._stream: RecordingStream | None = None

    def __enter__(self) -> "DepthWriter":
        self._folder.mkdir(parents=True, exist_ok=True)
        # Maps of an earlier run are replaced one by one from here on.
        (self._folder / INDEX).unlink(missing_ok=True)
        self._film = self._open.enter_context(DepthFilm(self._folder / FILM))
        try:
            self._stream = self._open.enter_context(recorded(self._folder, blueprint))
        except ImportError:
            self.notes.append(f"{RERUN_LOG} was left out: pip install rerun-sdk makes it possible.")
        return self

    @torch.no_grad()
    def add(
        self,
        name: str,
        time: float,
        image: Float[Tensor, "h w 3"],
        depth: Float[Tensor, "dh dw"],
        sigma: Float[Tensor, "sh sw"] | None = None,
        world_from_camera: Float[Tensor, "4 4"] | None = None,
    ) -> None:
        """Write one frame.

        Args:
            name: unique and safe as part of a file name, as ``Frame.name``.
            time: seconds, or the frame's number in the recording; increasing.
            image: linear, of the lens's size.
            depth: positive, of any size.
            sigma: standard deviation of the logarithm of ``depth``, of the same size.
            world_from_camera: float64, in the unit of ``depth``; None where it is not known.

        Raises:
            ValueError: any of these is not so; the frame is not written.
            OSError: the disk is full; what is there stays whole.
        """
        self._check(name, time, image)
        index = len(self._times)
        pose = None
        if world_from_camera is not None:
            pose = checked_pose(world_from_camera.double().cpu().numpy(), name)
        if index == 0 and not self._facts["metric"]:
            self._units = depth.double().median().item() / _MEDIAN_LEVEL
        write_depth(self._folder, name, depth, sigma, units_per_level=self._units)
        self._names[name] = None
        self._times.append(time)
        photo = srgb_bytes_from_linear(image.cpu()).numpy()
        levels = depth.float().cpu().numpy()
        seconds = time if self._clock else None
        self._film.add(seconds, photo, levels)
        self._pose = self._pose if pose is None else pose
        lens = self._lens.to("cpu").to(torch.float64)
        camera = Camera(lens, invert(torch.from_numpy(self._pose)))
        if self._stream is not None:
            log_frame(self._stream, index, name, seconds, camera, photo, levels, self._units)
        if pose is not None:
            self._poses[index] = pose
            spread = None if sigma is None else sigma.float().cpu().numpy()
            self._cloud.add(camera, photo, levels, spread)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._open.__exit__(kind, error, trace)
            return
        with self._open:
            if not self._times:
                raise ValueError("no frame was given, so there is no depth to write.")
            if self._stream is not None and self._poses:
                log_path(self._stream, np.stack([pose[:3, 3] for pose in self._poses.values()]))
        self._finish()

    def _finish(self) -> None:
        made = [FILM, *([RERUN_LOG] if self._stream is not None else [])]
        if self._poses:
            made += [TUM, POINTS]
            trajectory = self._trajectory()
            write_tum(self._folder / TUM, trajectory)
            write_atomically(self._folder / POINTS, self._cloud.encode())
            if len(self._poses) == len(self._times):
                made.append(KITTI)
                write_kitti(self._folder / KITTI, trajectory)
            else:
                self.notes.append(
                    f"{KITTI} was left out: {len(self._times) - len(self._poses)} of "
                    f"{len(self._times)} frames have no pose, which the format cannot say."
                )
        for name in {FILM, RERUN_LOG, TUM, KITTI, POINTS} - set(made):
            (self._folder / name).unlink(missing_ok=True)  # of an earlier run
        facts = self._facts | {
            "frames": list(self._names),
            "units_per_level": self._units,
            "lens": self._lens.facts,
        }
        write_index(self._folder, facts)
        self.files = [self._folder / name for name in [*made, INDEX]]

    def _trajectory(self) -> Trajectory:
        stamps = [self._times[index] for index in self._poses]
        return Trajectory(
            torch.from_numpy(np.stack(list(self._poses.values()))),
            torch.tensor(stamps, dtype=torch.float64),
        )

    def _check(self, name: str, time: float, image: Tensor) -> None:
        if name in self._names:
            raise ValueError(f"two frames are named {name}; give each its own name.")
        expected = (self._lens.height, self._lens.width)
        if tuple(image.shape[:2]) != expected:
            raise ValueError(
                f"{name} is {image.shape[0]}x{image.shape[1]} (h x w) but the lens "
                f"{expected[0]}x{expected[1]}; resize one of them first."
            )
        if not math.isfinite(time) or (self._times and time <= self._times[-1]):
            last = f"after {self._times[-1]}" if self._times else "finite"
            raise ValueError(f"{name} is at time {time}, expected one that is {last}.")
