"""Places: depth per photo, fused into one mesh, without masks."""

from invgraph.places.depth import DepthMap, estimate_depth

__all__ = ["DepthMap", "estimate_depth"]
