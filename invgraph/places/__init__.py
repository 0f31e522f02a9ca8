"""Places: depth per photo, fused into one surface, without masks."""

from invgraph.places.calibrate import Matches, refine_cameras
from invgraph.places.depth import DepthMap, estimate_depth
from invgraph.places.fuse import fuse

__all__ = ["DepthMap", "Matches", "estimate_depth", "fuse", "refine_cameras"]
