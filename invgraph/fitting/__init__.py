"""Fit a scene to photographs by descending through the renderer."""

from invgraph.fitting.fit import FitResult, fit
from invgraph.fitting.settings import FitSettings

__all__ = ["FitResult", "FitSettings", "fit"]
