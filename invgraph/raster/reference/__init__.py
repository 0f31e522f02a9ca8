"""Every raster operation again in plain torch: slow, obvious, in any dtype.

The oracle of the tests; its gradients are autograd's. Definitions are those of the compiled
operations' docstrings; here they are spelled out one face, one pixel pair or one mip level at a
time, without tiles, bins or walks in bulk.
"""

from invgraph.raster.reference.antialias import antialias
from invgraph.raster.reference.interpolate import interpolate
from invgraph.raster.reference.rasterize import Layers, peel, rasterize
from invgraph.raster.reference.soft import soft_silhouette
from invgraph.raster.reference.texture import mip_levels, texture

__all__ = [
    "Layers",
    "antialias",
    "interpolate",
    "mip_levels",
    "peel",
    "rasterize",
    "soft_silhouette",
    "texture",
]
