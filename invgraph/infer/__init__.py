"""What a depth network says about a video, as files."""

from invgraph.infer.files import InferFacts, read_depth, read_facts, write_depth, write_facts
from invgraph.infer.run import DepthRun

__all__ = ["DepthRun", "InferFacts", "read_depth", "read_facts", "write_depth", "write_facts"]
