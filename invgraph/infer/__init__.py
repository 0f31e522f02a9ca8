"""What a depth network says about a video, as files."""

from invgraph.infer.depth_writer import DepthWriter
from invgraph.runs.predictions import Predictions, read_depth, read_index, write_depth, write_index

__all__ = ["DepthWriter", "Predictions", "read_depth", "read_index", "write_depth", "write_index"]
