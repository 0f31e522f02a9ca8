"""Differentiable rasterization: from triangles to what every pixel sees, and gradients back.

``screen`` means homogeneous pixels (u z, v z, z): what ``Camera.homogeneous_pixels`` gives.

| operation | from | to |
|---|---|---|
| ``rasterize`` | vertices on the screen, faces | ``Fragments``: what each pixel sees |
| ``interpolate`` | values at vertices | values at pixels |
| ``texture`` | an image, coordinates at pixels | values at pixels |
| ``antialias`` | colours at pixels | colours blended across silhouettes |
| ``soft_silhouette`` | vertices on the screen, faces | a coverage that feels triangles from afar |
| ``peel`` | vertices on the screen, faces | ``Fragments`` of the first layers |
"""

from invgraph.raster.antialias import antialias
from invgraph.raster.fragments import Fragments
from invgraph.raster.interpolate import attribute_slopes, interpolate
from invgraph.raster.peel import peel
from invgraph.raster.rasterize import rasterize
from invgraph.raster.soft import soft_silhouette
from invgraph.raster.texture import texture

__all__ = [
    "Fragments",
    "antialias",
    "attribute_slopes",
    "interpolate",
    "peel",
    "rasterize",
    "soft_silhouette",
    "texture",
]
