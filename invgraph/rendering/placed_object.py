"""The appearance of an object at the pixels where it is seen."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.mesh import vertex_normals
from invgraph.raster import Fragments, interpolate
from invgraph.raster.pixels import Pixels
from invgraph.raster.texture import texture
from invgraph.rendering import ggx, shading
from invgraph.rendering import visibility as occlusion
from invgraph.scene import Object

# Panoramas are smoothed by a lobe this rough before they meet a visibility table: about as wide as
# the gaps between its directions.
_PATCH = 0.5

Lights = tuple[tuple[shading.Surroundings, ...], tuple[shading.Lamp, ...]]


@dataclass(frozen=True)
class Placed:
    """An object in front of a batch of cameras.

    Attributes:
        object: with one batch axis or none on each tensor that may have them.
        vertices: world frame.
        screen: homogeneous pixels.
    """

    object: Object
    vertices: Float[Tensor, "#b v 3"]
    screen: Float[Tensor, "b v 3"]

    @staticmethod
    def of(item: Object, camera: Camera) -> "Placed":
        """Place an object in front of a camera with one batch axis."""
        vertices = transforms.apply(item.world_from_object, item.mesh.vertices)
        vertices = vertices if vertices.ndim == 3 else vertices[None]
        return Placed(item, vertices, camera.homogeneous_pixels(vertices))

    @property
    def textured(self) -> bool:
        """Whether any part of the material is a texture."""
        material = self.object.material
        return any(t.ndim == 3 for t in (material.albedo, material.roughness, material.metallic))

    def shade(
        self,
        pixels: Pixels,
        fragments: Fragments,
        lights: Lights,
        camera: Camera,
        wanted: frozenset[str],
    ) -> dict[str, Tensor]:
        """Colour, albedo and normal of packed pixels, ``b n c`` each.

        Args:
            pixels: those that show this object.
            fragments: of the images.
            lights: prepared by :func:`shading.split`.
            camera: with one batch axis.
            wanted: names of outputs; others may be missing from the result.
        """
        colored = "color" in wanted
        if not colored and wanted.isdisjoint(("albedo", "normal")):
            return {}
        packed = pixels.fragments(fragments)
        found: dict[str, Tensor] = {}
        names = ("albedo", "roughness", "metallic") if colored else ("albedo",)
        material = {}
        if colored or "albedo" in wanted:
            material = self._material(pixels, packed, fragments, names)
            found["albedo"] = material["albedo"].expand(*pixels.face.shape, 3)
        if colored or "normal" in wanted:
            geometry = self._geometry(packed, lights[0], camera)
            facing = pixels.facing(self.screen, self.object.mesh.topology)
            if colored:
                surface = shading.Surface(geometry, facing, **material)
                found["color"] = shading.shade(surface, *lights, camera.camera_from_world)
            if "normal" in wanted:
                found["normal"] = shading.unit_normal(geometry, facing)
        return found

    def _material(
        self, pixels: Pixels, packed: Fragments, fragments: Fragments, names: tuple[str, ...]
    ) -> dict[str, Tensor]:
        """The material's parameters at every pixel, or ``1 1 c`` where they are constant."""
        mesh, found, textures = self.object.mesh, {}, {}
        for name in names:
            values = getattr(self.object.material, name)
            if values.ndim == 1:
                found[name] = values[None, None]
            elif values.ndim == 2:
                found[name] = interpolate(values[None], mesh.topology, packed).flatten(1, 2)
            else:
                textures.setdefault(values.shape[:2], []).append(name)
        if textures:
            assert mesh.uv is not None
            uv = interpolate(mesh.uv[None], mesh.texture_topology, packed)
            uv_pixel = pixels.footprint(mesh.uv, mesh.texture_topology, fragments).reshape(
                *uv.shape[:-1], 4
            )
        # Textures of equal size are read together.
        for group in textures.values():
            stacked = [getattr(self.object.material, name) for name in group]
            sizes = [values.shape[-1] for values in stacked]
            tex = stacked[0] if len(stacked) == 1 else torch.cat(stacked, -1)
            read = texture(tex, uv, uv_pixel).flatten(1, 2)
            found.update(zip(group, read.split(sizes, -1), strict=True))
        return found

    def _geometry(
        self, packed: Fragments, around: tuple[shading.Surroundings, ...], camera: Camera
    ) -> Tensor:
        """Geometry as in :class:`shading.Surface`."""
        mesh, pose = self.object.mesh, self.object.world_from_object
        local = vertex_normals(mesh)
        normals = transforms.rotate(pose, local)
        normals = normals if normals.ndim == 3 else normals[None]
        # The offset to the eye is affine in the position, so interpolating it is exact.
        views = camera.centre[:, None] - self.vertices
        columns = [normals.expand_as(views), views]
        if self.object.visibility is not None and around:
            columns += self._occluded(local, normals, views, around)
        return interpolate(torch.cat(columns, -1), mesh.topology, packed).flatten(1, 2)

    def _occluded(
        self, local: Tensor, normals: Tensor, views: Tensor, around: tuple
    ) -> list[Tensor]:
        """Irradiance and openness of every vertex, ``b v 3`` and ``b v 1``."""
        table, pose = self.object.visibility, self.object.world_from_object
        assert table is not None
        towards = occlusion.directions(table.shape[1]).to(views)
        world = transforms.rotate(pose, towards)
        world = world if world.ndim == 3 else world[None]
        radiance = torch.stack(
            torch.broadcast_tensors(*(light.radiance(world, _PATCH) for light in around))
        ).sum(0)
        batch, count = views.shape[:2]
        if local.ndim == 2:
            # One set of normals: all images' lights pass through the table together.
            packed = radiance.permute(1, 0, 2).flatten(1)[None]
            received = occlusion.occluded_irradiance(table, local[None], packed)
            received = received.reshape(count, -1, 3).permute(1, 0, 2)
        else:
            received = occlusion.occluded_irradiance(
                table, local, radiance.expand(len(local), -1, -1)
            )
        with torch.no_grad():
            roughness = self.object.material.roughness.mean().expand(1, 1, 1)
            view = functional.normalize(views, dim=-1)
            axes = transforms.rotate(
                transforms.invert(pose), ggx.lobe_axis(normals, view, roughness)
            )
            opened = occlusion.openness(table, axes)
        return [received.expand(batch, count, 3), opened.expand(batch, count, 1)]
