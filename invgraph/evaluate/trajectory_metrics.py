"""How far an estimated trajectory is from the true one, over its whole length.

Both are placements of the camera, ``world_from_camera``. The functions take trajectories whose
poses belong together one by one; :func:`associate` makes such pairs by time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from invgraph.data.trajectory_files import Trajectory
from invgraph.evaluate.similarity import align_similarity
from invgraph.geometry import transforms

LARGEST_GAP_S = 0.02
KITTI_LENGTHS = (100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0)  # metres
KITTI_STEP = 10  # frames from one segment's start to the next


@dataclass(frozen=True)
class SegmentErrors:
    """What the KITTI benchmark calls translational and rotational error.

    Attributes:
        t_err_pct: mean drift in position at the end of a segment, percent of its length.
        r_err_deg_per_100m: mean drift in orientation, degrees per 100 m.
        segments: how many there were.
        lengths: those of which there was at least one segment, metres.
    """

    t_err_pct: float
    r_err_deg_per_100m: float
    segments: int
    lengths: tuple[float, ...]


def associate(
    estimate: Trajectory, reference: Trajectory, largest_gap: float = LARGEST_GAP_S
) -> tuple[Trajectory, Trajectory]:
    """The poses of both that were taken at the same time.

    Two poses are a pair if each is the nearest in time to the other.

    Args:
        estimate: with any number of poses.
        reference: on the same clock.
        largest_gap: seconds between the two of a pair at most.

    Raises:
        ValueError: nothing belongs together.

    Source:
        Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems (2012), section IV.
    """
    there, back = _nearest(estimate, reference), _nearest(reference, estimate)
    mutual = back[there] == torch.arange(len(estimate))
    near = (estimate.times - reference.times[there]).abs() <= largest_gap
    kept = (mutual & near).nonzero()[:, 0]
    if not len(kept):
        raise ValueError(
            f"no poses are within {largest_gap:g} s: the estimate is from {_span(estimate)}, the "
            f"reference from {_span(reference)}; use the same clock in both."
        )
    return _only(estimate, kept), _only(reference, there[kept])


def align(estimate: Trajectory, reference: Trajectory, *, scale: bool) -> tuple[Trajectory, float]:
    """Move an estimate onto the reference: the least squares of all camera positions.

    Args:
        estimate: in any frame.
        reference: in the frame of the result; as many poses.
        scale: also scale positions (Sim(3)), as for cameras that cannot know it; else the scale is
            1 (SE(3)).

    Returns:
        The estimate in the reference's frame, and its scale.

    Raises:
        ValueError: other counts of poses, fewer than 3, or a camera that does not move.

    Source:
        Umeyama, Least-squares estimation of transformation parameters (1991).
    """
    _refuse_other_count(estimate, reference)
    ours, theirs = (t.world_from_camera[:, :3, 3] for t in (estimate, reference))
    if not bool((theirs != theirs[0]).any()):
        raise ValueError("the reference does not move, so nothing can be aligned to it.")
    factor, rotation, translation = align_similarity(ours, theirs)
    if not scale:
        factor, translation = 1.0, theirs.mean(0) - rotation @ ours.mean(0)
    placed = transforms.pose(
        rotation @ estimate.world_from_camera[:, :3, :3],
        factor * ours @ rotation.T + translation,
    )
    return Trajectory(placed, estimate.times), factor


def ate_rmse(estimate: Trajectory, reference: Trajectory) -> float:
    """Root mean square distance between camera positions of the whole trajectory, metres.

    Align the estimate first; short pieces that are aligned one by one give much smaller numbers,
    which say nothing about drift.

    Raises:
        ValueError: other counts of poses.

    Source:
        Sturm et al. (2012), equation 4.
    """
    _refuse_other_count(estimate, reference)
    shift = estimate.world_from_camera[:, :3, 3] - reference.world_from_camera[:, :3, 3]
    return shift.square().sum(-1).mean().sqrt().item()


def relative_errors(
    estimate: Trajectory, reference: Trajectory, delta: int = 1
) -> tuple[float, float]:
    """Relative pose error over a number of frames: root mean squares, metres and degrees.

    All pairs of poses that are ``delta`` apart count. An estimate without a scale has to be
    scaled first, by :func:`align`.

    Raises:
        ValueError: other counts of poses, or not more than ``delta``.

    Source:
        Sturm et al. (2012), equations 1 to 3; the rotation in the same way.
    """
    _refuse_other_count(estimate, reference)
    if not 1 <= delta < len(estimate):
        raise ValueError(
            f"delta is {delta} frames, expected 1 to {len(estimate) - 1} for {len(estimate)} poses."
        )
    starts = torch.arange(len(estimate) - delta)
    error = _motion_error(estimate, reference, starts, starts + delta)
    shift, angle = error[:, :3, 3].norm(dim=-1), _angles(error)
    return _rms(shift), math.degrees(_rms(angle))


def kitti_errors(
    estimate: Trajectory, reference: Trajectory, lengths: Sequence[float] = KITTI_LENGTHS
) -> SegmentErrors:
    """Drift over segments of given lengths, as the KITTI odometry benchmark has it.

    A segment starts at every 10th pose and ends at the first pose that is further along the
    reference's path than its length. All segments of all lengths are averaged. An estimate
    without a scale has to be scaled first, by :func:`align`, which gives the numbers that are
    published for single cameras.

    Args:
        estimate: as many poses as the reference, consecutive frames.
        reference: metres.
        lengths: metres; the benchmark's are 100 to 800.

    Raises:
        ValueError: other counts of poses, lengths that are not positive, or a path that is
            shorter than all of them.

    Source:
        Geiger et al., Are we ready for Autonomous Driving? The KITTI Vision Benchmark Suite
        (2012), section 3.2, and its development kit.
    """
    _refuse_other_count(estimate, reference)
    if not lengths or not all(0 < length < math.inf for length in lengths):
        raise ValueError(f"lengths should be positive metres, at least one, but got {lengths}.")
    path = path_length(reference)
    begins, ends, spans = [], [], []
    for begin in range(0, len(reference), KITTI_STEP):
        for length in lengths:
            end = int(torch.searchsorted(path, path[begin] + length, right=True))
            if end < len(path):
                begins.append(begin)
                ends.append(end)
                spans.append(float(length))
    if not begins:
        raise ValueError(
            f"the path is {path[-1]:.4g} m long, shorter than a segment of {min(lengths):g} m; "
            "give shorter lengths."
        )
    error = _motion_error(estimate, reference, torch.tensor(begins), torch.tensor(ends))
    metres = torch.tensor(spans, dtype=torch.float64)
    shift = (error[:, :3, 3].norm(dim=-1) / metres).mean().item()
    angle = (_angles(error) / metres).mean().item()
    used = tuple(sorted(set(spans)))
    return SegmentErrors(100 * shift, 100 * math.degrees(angle), len(spans), used)


def path_length(trajectory: Trajectory) -> torch.Tensor:
    """How far the camera has gone at each of its n poses, float64 metres; 0 at the first."""
    steps = trajectory.world_from_camera[:, :3, 3].diff(dim=0).norm(dim=-1)
    return torch.cat((steps.new_zeros(1), steps.cumsum(0)))


def _motion_error(
    estimate: Trajectory, reference: Trajectory, starts: torch.Tensor, ends: torch.Tensor
) -> torch.Tensor:
    """The true motion as seen after the estimated one, for each start and end."""
    moved = [
        transforms.invert(t.world_from_camera[starts]) @ t.world_from_camera[ends]
        for t in (estimate, reference)
    ]
    return transforms.invert(moved[0]) @ moved[1]


def _angles(poses: torch.Tensor) -> torch.Tensor:
    return transforms.log_so3(poses[:, :3, :3]).norm(dim=-1)


def _rms(values: torch.Tensor) -> float:
    return values.square().mean().sqrt().item()


def _nearest(some: Trajectory, others: Trajectory) -> torch.Tensor:
    """Index of the pose of ``others`` that is nearest in time, for each of ``some``."""
    after = torch.searchsorted(others.times, some.times).clamp_max(len(others) - 1)
    before = (after - 1).clamp_min(0)
    gaps = [(others.times[side] - some.times).abs() for side in (before, after)]
    return torch.where(gaps[0] <= gaps[1], before, after)


def _only(trajectory: Trajectory, indices: torch.Tensor) -> Trajectory:
    return Trajectory(trajectory.world_from_camera[indices], trajectory.times[indices])


def _span(trajectory: Trajectory) -> str:
    return f"{trajectory.times[0].item():.6g} to {trajectory.times[-1].item():.6g} s"


def _refuse_other_count(estimate: Trajectory, reference: Trajectory) -> None:
    if len(estimate) != len(reference):
        raise ValueError(
            f"the estimate has {len(estimate)} poses but the reference {len(reference)}; "
            "associate them first."
        )
