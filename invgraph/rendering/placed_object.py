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
from invgraph.rendering.illumination import Lamp, Surroundings
from invgraph.scene import Object

# Panoramas are smoothed by a lobe this rough before they meet a visibility table: about as wide as
# the gaps between its directions.
_PATCH = 0.5

Lights = tuple[tuple[Surroundings, ...], tuple[Lamp, ...]]


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
        screen = camera.homogeneous_pixels(vertices)
        if item.present is not None:
            nowhere = screen.new_tensor([0.0, 0.0, -1.0])  # behind every camera
            screen = torch.where(item.present.reshape(-1, 1, 1), screen, nowhere)
        return Placed(item, vertices, screen)

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
            lights: prepared by :func:`illumination.sort_lights`.
            camera: with one batch axis.
            wanted: names of outputs; others may be missing from the result.
        """
        colored = "color" in wanted
        lit = colored and not self.object.material.unlit
        if not colored and wanted.isdisjoint(("albedo", "normal")):
            return {}
        packed = pixels.fragments(fragments)
        found: dict[str, Tensor] = {}
        names = ("albedo", "roughness", "metallic") if lit else ("albedo",)
        material = {}
        if colored or "albedo" in wanted:
            material = self._material(pixels, packed, fragments, names)
            found["albedo"] = material["albedo"].expand(*pixels.face.shape, 3)
        if colored and not lit:
            found["color"] = found["albedo"]
        if lit or "normal" in wanted:
            geometry = self._geometry(packed, lights[0], camera)
            facing = pixels.facing(self.screen, self.object.mesh.topology)
            if lit:
                surface = shading.Surface(geometry, facing, **material)
                found["color"] = shading.shade(surface, *lights, camera.centre)
            if "normal" in wanted:
                found["normal"] = shading.unit_normal(geometry, facing)
        return found

    def _material(
        self, pixels: Pixels, packed: Fragments, fragments: Fragments, names: tuple[str, ...]
    ) -> dict[str, Tensor]:
        """The material's parameters at every pixel, or ``1 1 c`` where they are constant."""
        mesh, found, textures = self.object.mesh, {}, {}
        for name in names:
            values, kind = getattr(self.object.material, name), self.object.material.kind(name)
            if kind == "constant":
                found[name] = values.reshape(-1, 1, values.shape[-1])
            elif kind == "vertex":
                values = values if values.ndim == 3 else values[None]
                found[name] = interpolate(values, mesh.topology, packed).flatten(1, 2)
            elif kind == "face":
                found[name] = _of_faces(values, pixels.face)
            else:
                textures.setdefault(values.shape[-3:-1], []).append(name)
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
            tex = stacked[0] if len(stacked) == 1 else _side_by_side(stacked)
            read = texture(tex, uv, uv_pixel).flatten(1, 2)
            found.update(zip(group, read.split(sizes, -1), strict=True))
        if self.object.tint is not None:
            found["albedo"] = found["albedo"] * self.object.tint.reshape(-1, 1, 3)
        return found

    def _geometry(
        self, packed: Fragments, around: tuple[Surroundings, ...], camera: Camera
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
            material = self.object.material
            own = material.own_axes()["roughness"]
            roughness = material.roughness.mean(tuple(range(-own, 0))).reshape(-1, 1, 1)
            view = functional.normalize(views, dim=-1)
            axes = transforms.rotate(
                transforms.invert(pose), ggx.lobe_axis(normals, view, roughness)
            )
            opened = occlusion.openness(table, axes)
        return [received.expand(batch, count, 3), opened.expand(batch, count, 1)]


def _of_faces(values: Tensor, face: Tensor) -> Tensor:
    """Values ``f c`` or ``b f c`` of the faces at packed pixels ``b n``; any in the padding."""
    index = face.clamp_min(0).long()
    if values.ndim == 2:
        return values.index_select(0, index.flatten()).unflatten(0, tuple(index.shape))
    return values.gather(1, index[..., None].expand(*index.shape, values.shape[-1]))


def _side_by_side(textures: list[Tensor]) -> Tensor:
    """One texture with the channels of several, where any of them has batch axes with these."""
    batch = torch.broadcast_shapes(*(values.shape[:-3] for values in textures))
    return torch.cat([values.expand(*batch, *values.shape[-3:]) for values in textures], -1)
