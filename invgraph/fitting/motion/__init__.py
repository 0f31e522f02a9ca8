"""The motion of a video's camera, without labels."""

from invgraph.fitting.motion.estimate import Motion, estimate_motion
from invgraph.fitting.motion.follow_camera import follow_camera

__all__ = ["Motion", "estimate_motion", "follow_camera"]
