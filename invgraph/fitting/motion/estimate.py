"""``estimate_motion``: from a video's frames to its camera's motion."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.data.frame import Frame
from invgraph.data.trajectory_files import Trajectory
from invgraph.fitting.motion.alignment import State, align
from invgraph.fitting.motion.frame_poses import align_frame, difference, pose_from_points
from invgraph.fitting.motion.keyframes import first_points
from invgraph.fitting.motion.patch_normals import slanted
from invgraph.fitting.motion.pyramids import Pyramid, check_frames, load_picture, pyramid, shrinking
from invgraph.fitting.motion.structure import Structure, build
from invgraph.fitting.motion.tracks import Tracks, follow_points
from invgraph.geometry.distortion import COEFFICIENTS
from invgraph.geometry.lens import Lens
from invgraph.runs.progress import Progress

_USUAL_FOCAL = 1.2  # of the longer side
_STILL_PX = 2.0
_LEAST_SHARE = 0.5  # of the keyframes, that must have been placed
_STEPS = 20
_ROUNDS = 3  # of aligning, then leaving out outliers
_AGREES = 120.0  # squared levels: mean square of a pattern that fits
_SEEN = (1, 99)  # percentiles of inverse depth


@dataclass(frozen=True, eq=False)
class Motion:
    """A camera's motion through a video. The unit of length is the usual depth; no video tells it.

    Attributes:
        trajectory: world_from_camera of every frame that was placed; the first frame is the world.
        lens: what the frames were taken with, at their full size.
        points: on the surfaces that keyframes see, world frame.
        frames: which frames were placed, ascending.
        keyframes: which of the video's frames those are that were aligned together.
        differences: per placed frame, root of the median mean square of differences between a
            pattern of pixels in the frame and in others, levels of 0 to 255 as displayed.
    """

    trajectory: Trajectory
    lens: Lens
    points: Float[Tensor, "m 3"]
    frames: tuple[int, ...]
    keyframes: tuple[int, ...]
    differences: Float[Tensor, " n"]


def estimate_motion(
    frames: Sequence[Frame],
    lens: Lens | None,
    *,
    work: str | Path | None = None,
    progress: Progress | None = None,
) -> Motion:
    """Find how the camera moved, from the pictures alone.

    Corners are followed from frame to frame. Frames some motion apart are keyframes; mapping places
    them by the followed points. Then all keyframes are aligned directly: poses, inverse depths of
    points on edges, and the lens descend together until pictures of the same points agree. The
    other frames are aligned with their nearest keyframes.

    Pictures are averaged down to at most 200,000 pixels. Things that move on their own are left
    out as far as they are the smaller part. Time and memory grow with the number of frames.

    Args:
        frames: of a video, in the order of time and close together; cameras they have are not used.
        lens: intrinsics at the frames' size. Focal length and radial
            distortion are refined, the rest is trusted. When None all are guessed first.
        work: folder for temporary files; the system's own when left out.
        progress: hears the stages.

    Raises:
        ValueError: a fisheye; fewer than 3 frames; frames of different sizes; nothing to follow; a
            camera that stands still or only turns; frames that cannot be connected.
        ImportError: pycolmap is not installed.

    Source:
        Engel et al., Direct Sparse Odometry (2018); Schönberger and Frahm, Structure-from-Motion
        Revisited (2016).
    """
    work = None if work is None else Path(work)
    progress = progress or Progress()
    check_frames(frames)
    if lens is not None and (lens.height, lens.width) != frames[0].size:
        raise ValueError(
            f"the lens is for {lens.height}x{lens.width} (h x w) but the frames are "
            f"{frames[0].size[0]}x{frames[0].size[1]}; resize the lens."
        )
    if lens is not None and lens.model == "fisheye":
        raise ValueError(
            "odometry does not know fisheyes; undistort the frames first "
            "(invgraph.photometric.warp.undistort)."
        )
    factor = shrinking(frames[0].size)
    whole = _guess(frames[0].size) if lens is None else lens.to(torch.float64)
    small = whole.binned(factor)

    progress.stage("following points", 0.3)
    tracks = follow_points(_pyramids(frames, factor, progress))
    _check_tracks(tracks)
    progress.stage("placing keyframes", 0.5)
    focal = float(small.focal.mean())
    planes = [_plane(places, small) for places in tracks.places]
    structure = build(
        tracks,
        [planes[index] for index in tracks.keyframes],
        focal,
        lens is not None,
        (small.height, small.width),
        work,
        torch.get_num_threads(),
        progress,
    )
    structure = _check_structure(structure, tracks)
    progress.stage("aligning keyframes", 0.75)
    pictures = [
        pyramid(load_picture(frames[tracks.keyframes[k]], factor)) for k in structure.placed
    ]
    aligned = _align_keyframes(structure, pictures, _vector(small, structure, focal))
    progress.stage("aligning the other frames")
    at = [tracks.keyframes[k] for k in structure.placed]
    poses = dict(zip(at, aligned.state.poses, strict=True))
    differences = dict(zip(at, aligned.differences, strict=True))
    anchors = _Anchors(np.array(at), structure, aligned.state, focal)
    for index, frame in enumerate(frames):
        progress.update(index / len(frames), f"{index} of {len(frames)} frames")
        start = (
            None if index in poses else anchors.start(index, tracks.points[index], planes[index])
        )
        if start is not None:
            picture = pyramid(load_picture(frame, factor))
            poses[index], differences[index] = align_frame(
                aligned.state, pictures, picture, start, anchors.nearest(index)
            )
    return _motion(frames, poses, differences, aligned.state, at, whole, factor)


def _guess(size: tuple[int, int]) -> Lens:
    return Lens(
        torch.full((2,), _USUAL_FOCAL * max(size), dtype=torch.float64),
        torch.tensor([size[1] / 2, size[0] / 2], dtype=torch.float64),
        *size,
    )


def _pyramids(frames: Sequence[Frame], factor: int, progress: Progress) -> Iterator[Pyramid]:
    for index, frame in enumerate(frames):
        progress.update(index / len(frames), f"{index} of {len(frames)} frames")
        yield pyramid(load_picture(frame, factor))


def _plane(places: np.ndarray, lens: Lens) -> np.ndarray:
    """Where rays through pixels meet the plane z = 1."""
    pixels = torch.from_numpy(places)
    return lens.unproject(pixels, torch.ones(len(pixels), dtype=torch.float64))[:, :2].numpy()


def _check_tracks(tracks: Tracks) -> None:
    if max(len(points) for points in tracks.points) < 50:
        raise ValueError(
            "the frames show hardly anything to follow (fewer than 50 corners); give a video that "
            "is neither black, blank nor blurred."
        )
    if tracks.moved < _STILL_PX:
        raise ValueError(
            f"points move by {tracks.moved:.1f} pixels at most: the camera stands still; give a "
            "video in which it moves."
        )


def _check_structure(structure: Structure | None, tracks: Tracks) -> Structure:
    count = len(tracks.keyframes)
    if structure is None:
        raise ValueError(
            f"no two of {count} keyframes show enough points from different places: the camera may "
            "only have turned, or almost everything moves on its own; give a video in which it "
            "moves sideways or forward past things that stand."
        )
    if len(structure.placed) < _LEAST_SHARE * count:
        first, last = (tracks.keyframes[structure.placed[end]] for end in (0, -1))
        raise ValueError(
            f"only {len(structure.placed)} of {count} keyframes could be connected (frames {first} "
            f"to {last}); give a part of the video without cuts, blur or frames that show nothing."
        )
    return structure


def _vector(lens: Lens, structure: Structure, focal: float) -> np.ndarray:
    """The lens as ``alignment`` wants it, with what the structure found."""
    bent = np.zeros(len(COEFFICIENTS["rational"]))
    if lens.distortion is not None:
        bent[: len(lens.distortion)] = lens.distortion.numpy()
    bent[0] += structure.bend
    scaled = lens.focal.numpy() * structure.focal / focal
    return np.concatenate((scaled, lens.principal.numpy(), bent))


@dataclass(frozen=True, eq=False)
class _Aligned:
    state: State
    differences: np.ndarray  # per keyframe


def _align_keyframes(structure: Structure, pictures: list[Pyramid], lens: np.ndarray) -> _Aligned:
    """All keyframes at once, from where the structure has them."""
    poses = structure.poses.copy()
    depths = [
        structure.points[seen] @ pose[2, :3] + pose[2, 3]
        for seen, pose in zip(structure.seen, poses, strict=True)
    ]
    unit = float(np.median(np.concatenate(depths)))
    poses[:, :3, 3] /= unit
    ranges = np.array([np.percentile(unit / depth[depth > 0], _SEEN) for depth in depths])
    images = np.stack([levels[0] for levels in pictures])
    state = State(poses, lens, first_points(images, poses, lens, ranges))
    energies = np.zeros((0, 0))
    for _ in range(_ROUNDS):
        state, energies = align(state, lens, images, 1, _STEPS)
        fits = ((energies >= 0) & (energies < _AGREES)).sum(1) >= 2
        points, energies = state.points.only(fits), energies[fits]
        state = replace(state, points=slanted(points, state.lens))
    starts = state.points.starts
    spans = pairwise(starts.tolist())
    return _Aligned(state, np.array([difference(energies[low:high]) for low, high in spans]))


@dataclass(frozen=True, eq=False)
class _Anchors:
    """Keyframes, before and after they were aligned, from which other frames start.

    Attributes:
        at: the keyframes' indices among the frames, ascending.
        structure: before.
        state: after.
        focal: of the first lens.
    """

    at: np.ndarray
    structure: Structure
    state: State
    focal: float

    def nearest(self, index: int) -> np.ndarray:
        """Keyframes, the nearest in time first."""
        return np.argsort(np.abs(self.at - index), kind="stable")

    def start(self, index: int, numbers: np.ndarray, plane: np.ndarray) -> np.ndarray | None:
        """A frame's pose by the points it sees; None if they do not tell."""
        _, rows, own = np.intersect1d(self.structure.numbers, numbers, return_indices=True)
        pose = pose_from_points(
            self.structure.points[rows],
            plane[own] * self.focal,
            self.structure.focal,
            self.structure.bend,
        )
        if pose is None:
            return None
        # What aligning changed at the nearest keyframe holds nearby as well.
        before, after = self.structure.poses, self.state.poses
        near = self.nearest(index)[0]
        step = pose @ np.linalg.inv(before[near])
        step[:3, 3] *= _spread(after) / _spread(before)
        return step @ after[near]


def _spread(poses: np.ndarray) -> float:
    centres = np.linalg.inv(poses)[:, :3, 3]
    return float(np.linalg.norm(centres - centres.mean(0)))


def _motion(
    frames: Sequence[Frame],
    poses: dict[int, np.ndarray],
    differences: dict[int, float],
    state: State,
    keyframes: list[int],
    whole: Lens,
    factor: int,
) -> Motion:
    placed = sorted(poses)
    first = poses[placed[0]]
    world_from_camera = first @ np.linalg.inv(np.stack([poses[index] for index in placed]))
    known = [frames[index].time for index in placed]
    times = [
        float(index) if time is None else time for index, time in zip(placed, known, strict=True)
    ]
    if None in known or (np.diff(times) <= 0).any():
        times = [float(index) for index in placed]
    lens = replace(
        whole,
        focal=torch.from_numpy(state.lens[:2] * factor),
        distortion=torch.from_numpy(state.lens[4:][: len(COEFFICIENTS[whole.model])].copy()),
    )
    points = state.points
    host_of = np.repeat(points.hosts, np.diff(points.starts))
    plane = _plane(points.places, lens.binned(factor))
    inside = np.concatenate((plane, np.ones((len(plane), 1))), 1) / points.inverses[:, None]
    world_from_host = (first @ np.linalg.inv(state.poses))[host_of]
    world = np.einsum("nij,nj->ni", world_from_host[:, :3, :3], inside) + world_from_host[:, :3, 3]
    return Motion(
        Trajectory(torch.from_numpy(world_from_camera), torch.tensor(times, dtype=torch.float64)),
        lens,
        torch.from_numpy(world),
        tuple(placed),
        tuple(keyframes),
        torch.tensor([differences[index] for index in placed], dtype=torch.float64),
    )
