"""What a depth network says about a video, as files."""

from invgraph.infer.depth_writer import DepthWriter
from invgraph.runs.predictions import InferFacts, read_depth, read_facts, write_depth, write_facts

__all__ = ["DepthWriter", "InferFacts", "read_depth", "read_facts", "write_depth", "write_facts"]
