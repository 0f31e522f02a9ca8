"""A known object in images: where it is, how sure that is, and how it moves.

| name | what it is |
|---|---|
| ``load_object`` | a mesh file as something to look for |
| ``estimate_pose`` | the pose in one image, as a ``PoseBelief`` |
| ``track`` | the pose in every frame of a video |
"""

from invgraph.fitting.pose.known_object import KnownObject, load_object, make_object
from invgraph.fitting.pose.track import Tracked, Tracker, estimate_pose, track

__all__ = [
    "KnownObject",
    "Tracked",
    "Tracker",
    "estimate_pose",
    "load_object",
    "make_object",
    "track",
]
