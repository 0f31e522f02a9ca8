"""The motion of a video's camera, without labels."""

from invgraph.odometry.estimate import Motion, estimate_motion
from invgraph.odometry.recording import follow_camera

__all__ = ["Motion", "estimate_motion", "follow_camera"]
