"""Fit a scene to photographs by descending through the renderer."""

from invgraph.fit.run import FitResult, FitSettings, fit

__all__ = ["FitResult", "FitSettings", "fit"]
