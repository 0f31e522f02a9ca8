"""Scenes rendered by Mitsuba 3: path tracing, without gradients."""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.mesh import vertex_normals
from invgraph.rendering import environment
from invgraph.rendering.illumination import Bulb, Sun, sort_lights
from invgraph.scene import Material, Object, Scene
from invgraph.scene.batching import map_batched

if TYPE_CHECKING:
    from invgraph.rendering.result import Render

# Rows of the panorama that stands for all distant light, unless one is finer.
_PANORAMA_ROWS = 128
# Earlier ones end the whole process at operations that they lack.
_OLDEST_LLVM = 17
_lock = threading.Lock()  # Mitsuba's variant is global
_Bsdf = dict[str, Any]


def render(
    scene: Scene,
    camera: Camera,
    wanted: frozenset[str],
    *,
    samples: int = 64,
    max_depth: int = 6,
    bsdf: _Bsdf | Sequence[_Bsdf | None] | None = None,
) -> "Render":
    """Render by path tracing, one image after the other.

    Materials are our own, evaluated inside Mitsuba with the formulas of
    ``shading.shade``: direct light (``max_depth=2``) agrees with the rasterizer but
    in what only rays see: shadows of lamps, exact occlusion, the true shape of reflections.
    Spherical harmonics become a panorama, clamped at zero. Uses Mitsuba's variant ``llvm_ad_rgb``
    where LLVM 17 or newer is found (:func:`find_llvm`), else ``scalar_rgb``, which is slow.

    Args:
        scene: with one batch axis, or none, on every tensor that may have them.
        camera: with one batch axis; square pixels, no distortion.
        wanted: names of outputs.
        samples: rays per pixel.
        max_depth: longest path; 2 is direct light.
        bsdf: a Mitsuba material in place of every object's own, or one per object with None where
            it keeps its own. ``{"type": "ref", "id": "albedo"}`` as a value stands for that
            parameter of the object's own material.

    Raises:
        ImportError: Mitsuba is not installed.
        ValueError: the camera has distortion or oblong pixels, a material is unlit, or there are
            not as many of ``bsdf`` as objects.

    Gradients:
        None.
    """
    from invgraph.rendering.result import Render

    if any(item.material.unlit for item in scene.objects):
        raise ValueError(
            "Mitsuba's paths would light an unlit material; use the raster backend for it."
        )
    bsdfs = [bsdf] * len(scene.objects) if bsdf is None or isinstance(bsdf, dict) else bsdf
    if len(bsdfs) != len(scene.objects):
        raise ValueError(
            f"bsdf has {len(bsdfs)} materials for {len(scene.objects)} objects; give one per "
            "object, None where it keeps its own."
        )
    camera = camera.expanded()
    if camera.distortion is not None:
        raise ValueError(
            "Mitsuba's camera has no lens distortion but this one has; undistort it, or use the "
            "raster backend."
        )
    if not torch.allclose(camera.focal[:, 0], camera.focal[:, 1], rtol=1e-4):
        raise ValueError(
            f"Mitsuba's camera has square pixels but focal is {camera.focal.tolist()}; resize it."
        )
    images: list[dict[str, np.ndarray]] = []
    with torch.no_grad(), _variant() as mi:
        for index in range(len(camera.focal)):
            loaded, shapes = _load(mi, _item(scene, index), camera[index], max_depth, bsdfs)
            images.append(_image(mi, loaded, shapes, camera[index], wanted, samples))
    found = {
        name: torch.from_numpy(np.stack([image[name] for image in images])) for name in images[0]
    }
    if "color" in found:
        from invgraph.rendering.background import behind

        background = behind(scene, camera, ["color"])
        found["color"] = found["color"] + background * (1 - found["alpha"])[..., None]
    return Render(**{name: value for name, value in found.items() if name in wanted})


def find_llvm() -> None:
    """Tell Mitsuba of the LLVM that pip installed (karellen-llvm-core), unless another is chosen.

    The choice is the environment variable DRJIT_LIBLLVM_PATH. Mitsuba reads it when it is imported
    first, so that a program which does that itself calls this before.
    """
    for file in Path(sys.prefix, "lib").glob("libLLVM.so.*"):
        os.environ.setdefault("DRJIT_LIBLLVM_PATH", str(file))


@contextmanager
def _variant() -> Iterator[Any]:
    """Mitsuba in the fastest variant that works here; restores the caller's variant."""
    find_llvm()
    try:
        import drjit
        import mitsuba as mi
    except ImportError:
        raise ImportError(
            "backend 'mitsuba' needs the package mitsuba; pip install invgraph[mitsuba]."
        ) from None
    with _lock:
        before = mi.variant()
        try:
            try:
                mi.set_variant("llvm_ad_rgb")
                (mi.Float(1.0) + 1.0).numpy()  # fails here where LLVM is missing
                if drjit.detail.llvm_version()[0] < _OLDEST_LLVM:
                    raise RuntimeError("LLVM is too old")
            except (ImportError, RuntimeError, AttributeError):
                mi.set_variant("scalar_rgb")
            _register(mi)
            yield mi
        finally:
            if before is not None:
                mi.set_variant(before)


def _item(scene: Scene, index: int) -> Scene:
    """One item of a batch."""
    return map_batched(lambda tensor, own: tensor[index] if tensor.ndim > own else tensor, scene)


def _load(
    mi: Any, scene: Scene, camera: Camera, max_depth: int, bsdfs: Sequence[_Bsdf | None]
) -> tuple[Any, list[Any]]:
    """A Mitsuba scene and the shape of each object."""
    shapes = [_shape(mi, *pair) for pair in zip(scene.objects, bsdfs, strict=True)]
    focal, principal = camera.focal[0].item(), camera.principal.tolist()
    # Mitsuba's cameras look along +z with x to the left and y up.
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    world_from_camera = transforms.invert(camera.camera_from_world).double().numpy() @ flip
    width, height = camera.width, camera.height
    description: dict[str, Any] = {
        "type": "scene",
        "integrator": {
            "type": "aov",
            "aovs": "albedo:albedo",
            "image": {"type": "path", "max_depth": max_depth, "hide_emitters": True},
        },
        "sensor": {
            "type": "perspective",
            "to_world": mi.ScalarTransform4f(world_from_camera),
            "fov_axis": "x",
            "fov": float(np.degrees(2 * np.arctan(width / (2 * focal)))),
            "principal_point_offset_x": 0.5 - principal[0] / width,
            "principal_point_offset_y": 0.5 - principal[1] / height,
            "near_clip": camera.near,
            "far_clip": 1e6,
            "film": {
                "type": "hdrfilm",
                "width": width,
                "height": height,
                "pixel_format": "rgba",
                "component_format": "float32",
                "rfilter": {"type": "box"},
            },
            "sampler": {"type": "independent"},
        },
    }
    for number, (item, shape) in enumerate(zip(scene.objects, shapes, strict=True)):
        if item.present is None or bool(item.present):
            description[f"object_{number}"] = shape
    description |= _emitters(mi, scene, camera)
    return mi.load_dict(description), shapes


def _emitters(mi: Any, scene: Scene, camera: Camera) -> dict[str, Any]:
    """Mitsuba's lights; all distant light becomes one panorama, in the world frame."""
    emitters: dict[str, Any] = {}
    around, lamps = sort_lights(scene.lights, camera.camera_from_world[None])
    if around:
        rows = [light.panoramas.shape[1] for light in around if light.panoramas is not None]
        height = max([_PANORAMA_ROWS, *rows])
        directions, _ = environment.panorama_directions(height, 2 * height)
        total = torch.zeros(1, 2 * height**2, 3)
        for light in around:
            total += light.radiance(directions.reshape(1, -1, 3))
        bitmap = mi.Bitmap(total.reshape(height, 2 * height, 3).clamp_min(0).numpy())
        emitters["around"] = {"type": "envmap", "bitmap": bitmap}
    for number, lamp in enumerate(lamps):
        emitters[f"lamp_{number}"] = _emitter(lamp)
    return emitters


@singledispatch
def _emitter(lamp: Any) -> dict[str, Any]:
    raise TypeError(f"Mitsuba is not told about a {type(lamp).__name__} yet.")


@_emitter.register
def _(lamp: Sun) -> dict[str, Any]:
    irradiance = {"type": "rgb", "value": lamp.irradiance.flatten().tolist()}
    direction = (-lamp.towards).flatten().tolist()
    return {"type": "directional", "direction": direction, "irradiance": irradiance}


@_emitter.register
def _(lamp: Bulb) -> dict[str, Any]:
    intensity = {"type": "rgb", "value": lamp.intensity.flatten().tolist()}
    return {"type": "point", "position": lamp.place.flatten().tolist(), "intensity": intensity}


def _shape(mi: Any, item: Object, bsdf: _Bsdf | None) -> Any:
    """A Mitsuba mesh in the world frame; one vertex per corner where uv has its own indices."""
    mesh, material = item.mesh, item.material
    faces = mesh.faces.long()
    positions = transforms.apply(item.world_from_object, mesh.vertices)
    normals = transforms.rotate(item.world_from_object, vertex_normals(mesh))
    values = _values(item)
    attributes = {
        f"{kind}_{name}": value
        for name, value in values.items()
        if (kind := material.kind(name)) in ("vertex", "face")
    }
    uv = mesh.uv
    if uv is not None and mesh.uv_faces is not None:
        corners = faces.flatten()
        positions, normals = positions[corners], normals[corners]
        attributes = {
            name: value[corners] if name.startswith("vertex") else value
            for name, value in attributes.items()
        }
        uv = uv[mesh.uv_faces.long().flatten()]
        faces = torch.arange(len(corners)).reshape(-1, 3)
    properties = mi.Properties()
    own = {name: _parameter(mi, name, value, material) for name, value in values.items()}
    description = {"type": "invgraph"} | own if bsdf is None else _resolved(bsdf, own)
    properties["bsdf"] = mi.load_dict({"type": "twosided", "inside": description})
    shape = mi.Mesh(
        "object",
        vertex_count=len(positions),
        face_count=len(faces),
        has_vertex_normals=True,
        has_vertex_texcoords=uv is not None,
        props=properties,
    )
    parameters = mi.traverse(shape)
    parameters["vertex_positions"] = _flat(mi.Float, positions)
    parameters["vertex_normals"] = _flat(mi.Float, normals)
    parameters["faces"] = _flat(mi.UInt32, faces.int())
    if uv is not None:
        parameters["vertex_texcoords"] = _flat(mi.Float, uv)
    parameters.update()
    for name, value in attributes.items():
        shape.add_attribute(name, value.shape[1], value.flatten().tolist())
    return shape


def _resolved(bsdf: _Bsdf, own: _Bsdf) -> _Bsdf:
    """A material whose references to an object's own parameters are replaced by these."""

    def is_reference(value: Any) -> bool:
        return isinstance(value, dict) and value.get("type") == "ref"

    return {name: own[v["id"]] if is_reference(v) else v for name, v in bsdf.items()}


def _flat(kind: Any, values: Tensor) -> Any:
    array = values.detach().cpu().contiguous().numpy().ravel()
    return kind(array) if hasattr(kind, "numpy") else array


def _values(item: Object) -> dict[str, Tensor]:
    """The parameters of the material, tinted."""
    found = {name: getattr(item.material, name) for name in ("albedo", "roughness", "metallic")}
    if item.tint is not None:
        found["albedo"] = found["albedo"] * item.tint
    return found


def _parameter(mi: Any, name: str, values: Tensor, material: Material) -> dict[str, Any]:
    """A Mitsuba texture of a material's parameter."""
    kind = material.kind(name)
    if kind in ("vertex", "face"):
        return {"type": "mesh_attribute", "name": f"{kind}_{name}"}
    if kind == "constant":
        values = values[None, None]
    array = values.detach().float().contiguous().numpy()
    return {"type": "bitmap", "bitmap": mi.Bitmap(array), "raw": True, "wrap_mode": "repeat"}


def _image(
    mi: Any, scene: Any, shapes: list[Any], camera: Camera, wanted: frozenset[str], samples: int
) -> dict[str, np.ndarray]:
    """The outputs of one camera; colour is not yet over the background."""
    found: dict[str, np.ndarray] = {}
    if not wanted.isdisjoint(("color", "alpha", "albedo")):
        image = np.array(mi.render(scene, spp=samples, seed=0), dtype=np.float32)
        found |= {"color": image[..., :3], "alpha": image[..., 3], "albedo": image[..., 4:7]}
    if not wanted.isdisjoint(("depth", "normal", "object_id")):
        found |= _centres(mi, scene, shapes, camera)
    return found


def _centres(mi: Any, scene: Any, shapes: list[Any], camera: Camera) -> dict[str, np.ndarray]:
    """Depth, normal and object at every pixel's centre."""
    origins, rays = (tensor.reshape(-1, 3).float().numpy() for tensor in camera.rays())
    size = (camera.height, camera.width)
    axis = camera.camera_from_world[2, :3].numpy()
    if mi.variant() == "scalar_rgb":
        hits = [scene.ray_intersect(mi.Ray3f(o, d)) for o, d in zip(origins, rays, strict=True)]
        valid = np.array([hit.is_valid() for hit in hits])
        distance = np.array([hit.t if hit.is_valid() else 0.0 for hit in hits])
        normal = np.array([np.array(hit.sh_frame.n).ravel() for hit in hits])
        outside = np.array([np.array(hit.n).ravel() for hit in hits])
        owner = np.array([_index(hit.shape, shapes) if hit.is_valid() else -1 for hit in hits])
    else:
        hit = scene.ray_intersect(mi.Ray3f(mi.Point3f(origins.T), mi.Vector3f(rays.T)))
        valid = np.array(hit.is_valid())
        distance, normal = np.array(hit.t), np.array(hit.sh_frame.n).T
        outside = np.array(hit.n).T
        owner = np.full(len(rays), -1)
        for number, shape in enumerate(shapes):
            owner[np.array(hit.shape == mi.ShapePtr(shape))] = number
    distance = np.where(valid, distance, 0)
    normal = np.where(valid[:, None], normal, 0)
    normal = np.where(((outside * rays).sum(1) > 0)[:, None], -normal, normal)
    return {
        "depth": (distance * (rays @ axis)).astype(np.float32).reshape(size),
        "normal": normal.astype(np.float32).reshape(*size, 3),
        "object_id": np.where(valid, owner, -1).astype(np.int32).reshape(size),
    }


def _index(shape: Any, shapes: list[Any]) -> int:
    return next(number for number, own in enumerate(shapes) if own == shape)


def _register(mi: Any) -> None:
    """Teach this variant of Mitsuba our material."""
    import drjit as dr

    def reflectance(nv: Any, r: Any) -> tuple[Any, Any]:
        from invgraph.rendering import ggx

        return ggx.reflectance_polynomials(nv, r, dr.maximum)

    class Material(mi.BSDF):
        def __init__(self, props: Any) -> None:
            mi.BSDF.__init__(self, props)
            self.albedo, self.roughness = props["albedo"], props["roughness"]
            self.metallic = props["metallic"]
            flags = mi.BSDFFlags.DiffuseReflection | mi.BSDFFlags.FrontSide
            self.m_components = [flags]
            self.m_flags = flags

        def _alpha(self, si: Any, active: Any) -> tuple[Any, Any]:
            roughness = self.roughness.eval_1(si, active)
            return roughness, dr.square(dr.maximum(roughness, 0.04))

        def sample(self, ctx: Any, si: Any, sample1: Any, sample2: Any, active: Any) -> Any:
            _, alpha = self._alpha(si, active)
            half, _ = mi.MicrofacetDistribution(mi.MicrofacetType.GGX, alpha, False).sample(
                si.wi, sample2
            )
            wo = dr.select(
                sample1 < 0.5, mi.warp.square_to_cosine_hemisphere(sample2), mi.reflect(si.wi, half)
            )
            record = mi.BSDFSample3f()
            record.wo = wo
            record.pdf = self.pdf(ctx, si, wo, active)
            record.eta = 1.0
            record.sampled_component = mi.UInt32(0)
            record.sampled_type = mi.UInt32(+mi.BSDFFlags.DiffuseReflection)
            value = self.eval(ctx, si, wo, active) / dr.maximum(record.pdf, 1e-20)
            return record, dr.select(record.pdf > 0, value, 0.0)

        def eval(self, ctx: Any, si: Any, wo: Any, active: Any) -> Any:
            albedo = self.albedo.eval(si, active)
            metallic = self.metallic.eval_1(si, active)
            roughness, alpha = self._alpha(si, active)
            nv, nl = mi.Frame3f.cos_theta(si.wi), mi.Frame3f.cos_theta(wo)
            half = dr.normalize(si.wi + wo)
            lobe = mi.MicrofacetDistribution(mi.MicrofacetType.GGX, alpha, False)
            f0 = 0.04 + (albedo - 0.04) * metallic
            fresnel = f0 + (1 - f0) * (1 - dr.clip(dr.dot(si.wi, half), 0, 1)) ** 5
            shine = fresnel * (
                lobe.eval(half) * lobe.G(si.wi, wo, half) / (4 * dr.maximum(nv, 1e-6))
            )
            scale, bias = reflectance(dr.clip(nv, 1e-4, 1), roughness)
            matt = albedo * (1 - metallic) * (1 - f0 * scale - bias) * (nl / dr.pi)
            return dr.select((nv > 0) & (nl > 0), matt + shine, 0.0)

        def pdf(self, ctx: Any, si: Any, wo: Any, active: Any) -> Any:
            _, alpha = self._alpha(si, active)
            nv, nl = mi.Frame3f.cos_theta(si.wi), mi.Frame3f.cos_theta(wo)
            half = dr.normalize(si.wi + wo)
            lobe = mi.MicrofacetDistribution(mi.MicrofacetType.GGX, alpha, False)
            shine = lobe.eval(half) * mi.Frame3f.cos_theta(half)
            shine = shine / (4 * dr.maximum(dr.dot(wo, half), 1e-6))
            return dr.select((nv > 0) & (nl > 0), 0.5 * (nl / dr.pi + shine), 0.0)

        def eval_pdf(self, ctx: Any, si: Any, wo: Any, active: Any) -> Any:
            return self.eval(ctx, si, wo, active), self.pdf(ctx, si, wo, active)

        def eval_diffuse_reflectance(self, si: Any, active: Any) -> Any:
            return self.albedo.eval(si, active)

        def traverse(self, callback: Any) -> None:
            for name in ("albedo", "roughness", "metallic"):
                callback.put(name, getattr(self, name), mi.ParamFlags.Differentiable)

        def to_string(self) -> str:
            return "Invgraph[]"

    mi.register_bsdf("invgraph", Material)
