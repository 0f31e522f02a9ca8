"""Recordings read as captures: photographs, with cameras where known, whatever the format."""

from invgraph.data.bounds import Bounds
from invgraph.data.capture import Capture
from invgraph.data.frame import Frame
from invgraph.data.recognise import read_capture
from invgraph.data.true_cameras import with_true_cameras
from invgraph.data.truth import MeasuredMap, ObjectPose, SceneTruth, Truth

__all__ = [
    "Bounds",
    "Capture",
    "Frame",
    "MeasuredMap",
    "ObjectPose",
    "SceneTruth",
    "Truth",
    "read_capture",
    "with_true_cameras",
]
