"""A known object in images: where it is, how sure that is, and how it moves.

| name | what it is |
|---|---|
| ``load_model`` | a mesh file as something to look for |
| ``estimate_pose`` | the pose in one image, as a ``PoseBelief`` |
| ``track`` | the pose in every frame of a video |
"""

from invgraph.fitting.pose.model import Model, load_model, make_model
from invgraph.fitting.pose.track import Tracked, Tracker, estimate_pose, track

__all__ = ["Model", "Tracked", "Tracker", "estimate_pose", "load_model", "make_model", "track"]
