"""Places: depth per photo, fused into one surface, without masks."""

from invgraph.fitting.place.calibrate import Matches, refine_cameras
from invgraph.fitting.place.depth import DepthMap, estimate_depth
from invgraph.fitting.place.fuse import fuse

__all__ = ["DepthMap", "Matches", "estimate_depth", "fuse", "refine_cameras"]
