"""The motion of a video's camera, without labels."""

from invgraph.odometry.estimate import Motion, estimate_motion

__all__ = ["Motion", "estimate_motion"]
