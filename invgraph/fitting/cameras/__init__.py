"""Structure from motion: cameras and sparse points from photographs alone."""

from invgraph.fitting.cameras.quality import Quality
from invgraph.fitting.cameras.recover import recover_cameras, recovered_quality

__all__ = ["Quality", "recover_cameras", "recovered_quality"]
