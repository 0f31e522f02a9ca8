"""Explain images by scenes: a differentiable renderer with the tools to fit what it renders.

How an image becomes a gradient: ``data`` reads the photograph with its camera; ``scene`` holds the
tensors of a guess; ``geometry`` puts their points on the image; ``raster`` finds what every pixel
sees; ``rendering`` gives it a colour; ``photometric`` compares that with the photograph; and
autograd goes all the way back. ``fitting`` descends along that gradient on one capture, ``train``
on many. The folders in the order of their imports, a room using only rooms before it:

| room | what it holds |
|---|---|
| ``kernels``, ``files`` | compiled CPU code; files written whole |
| ``geometry``, ``scene`` | cameras and meshes; objects, materials, lights, beliefs |
| ``raster``, ``rendering``, ``photometric`` | the renderer, and losses |
| ``data``, ``runs`` | what is read; what a run leaves on disk |
| ``evaluate``, ``report`` | scores; the page to look at |
| ``encoders``, ``fitting``, ``train``, ``infer`` | networks; descent; what was learned, applied |
| ``cli`` | the command line |
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from invgraph.data import read_capture
    from invgraph.fitting.fit import fit
    from invgraph.geometry.camera import Camera
    from invgraph.geometry.lens import Lens
    from invgraph.geometry.mesh import Mesh
    from invgraph.rendering.render import render
    from invgraph.rendering.result import Render
    from invgraph.scene import (
        DirectionalLight,
        EnvironmentMap,
        Material,
        Object,
        PointLight,
        Scene,
        SphericalHarmonicLight,
    )
    from invgraph.scene.scene_files import load_scene, save_scene

# Where each public name lives; fetched on first use, since torch alone takes seconds to import.
_HOMES = {
    "Camera": "invgraph.geometry.camera",
    "DirectionalLight": "invgraph.scene",
    "EnvironmentMap": "invgraph.scene",
    "Lens": "invgraph.geometry.lens",
    "Material": "invgraph.scene",
    "Mesh": "invgraph.geometry.mesh",
    "Object": "invgraph.scene",
    "PointLight": "invgraph.scene",
    "Render": "invgraph.rendering.result",
    "Scene": "invgraph.scene",
    "SphericalHarmonicLight": "invgraph.scene",
    "fit": "invgraph.fitting.fit",
    "load_scene": "invgraph.scene.scene_files",
    "read_capture": "invgraph.data",
    "render": "invgraph.rendering.render",
    "save_scene": "invgraph.scene.scene_files",
}

__all__ = [
    "Camera",
    "DirectionalLight",
    "EnvironmentMap",
    "Lens",
    "Material",
    "Mesh",
    "Object",
    "PointLight",
    "Render",
    "Scene",
    "SphericalHarmonicLight",
    "fit",
    "load_scene",
    "read_capture",
    "render",
    "save_scene",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'invgraph' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
