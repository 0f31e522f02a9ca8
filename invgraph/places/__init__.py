"""Places: depth per photo, fused into one surface, without masks."""

from invgraph.places.depth import DepthMap, estimate_depth
from invgraph.places.fuse import fuse

__all__ = ["DepthMap", "estimate_depth", "fuse"]
