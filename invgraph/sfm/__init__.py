"""Structure from motion: cameras and sparse points from photographs alone."""

from invgraph.sfm.quality import Quality
from invgraph.sfm.recover import recover_cameras, recovered_quality

__all__ = ["Quality", "recover_cameras", "recovered_quality"]
