"""What a depth network says about a video, as files."""

from invgraph.infer.run import DepthRun
from invgraph.runs.predictions import InferFacts, read_depth, read_facts, write_depth, write_facts

__all__ = ["DepthRun", "InferFacts", "read_depth", "read_facts", "write_depth", "write_facts"]
