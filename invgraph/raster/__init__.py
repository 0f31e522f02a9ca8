"""Differentiable rasterization: from triangles to what every pixel sees.

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

from .antialias import antialias
from .fragments import Fragments
from .interpolate import attribute_slopes, interpolate
from .peel import peel
from .rasterize import rasterize
from .soft import soft_silhouette
from .texture import texture

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
