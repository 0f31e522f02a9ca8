"""Self-shadowing: which light reaches which vertex."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from invgraph.geometry.mesh import Mesh, vertex_normals
from invgraph.geometry.topology import Topology
from invgraph.raster import rasterize
from invgraph.rendering import harmonics

# Vertices handled at once by the transfer: its table of vertices x directions stays in cache.
_CHUNK = 2048
# Depth maps drawn at once: bounds memory at about 90 MB for maps of 512 x 512.
_MAPS = 16


def directions(count: int) -> Float[Tensor, "d 3"]:
    """The directions that the columns of a visibility table belong to, object frame."""
    return harmonics.fibonacci_sphere(count)


@torch.no_grad()
def visibility(mesh: Mesh, n_directions: int = 128, resolution: int = 512) -> Float[Tensor, "v d"]:
    """Fraction of light that reaches each vertex from each of :func:`directions`.

    Parallel depth maps are drawn along every direction and compared with the vertices' depths, like
    shadow maps. Vertices are lifted off the surface along their normal, by 1.5 pixels of these
    maps, so that a surface does not shadow itself; gaps narrower than that are not resolved.

    Args:
        mesh: one mesh, without batch axes.
        n_directions: columns of the table.
        resolution: height and width of the depth maps.

    Returns:
        0 to 1; between them at the borders of shadows.

    Raises:
        ValueError: the mesh has batch axes.

    Gradients:
        None; compute the table anew when the mesh has moved.

    Source:
        Williams, Casting curved shadows on curved surfaces (1978).
    """
    if mesh.vertices.ndim != 2:
        raise ValueError(
            f"visibility needs one mesh but vertices are {tuple(mesh.vertices.shape)}; "
            "call it once per mesh."
        )
    vertices = mesh.vertices.float()
    towards = directions(n_directions).to(vertices)
    if vertices.shape[0] == 0 or mesh.faces.shape[0] == 0:
        return vertices.new_ones(vertices.shape[0], n_directions)
    used = vertices[mesh.faces.long().flatten()]
    centre = (used.amax(0) + used.amin(0)) / 2
    radius = (used - centre).norm(dim=-1).max().clamp_min(1e-12)
    points = (vertices - centre) / radius
    texel = 2 * 1.02 / resolution
    lifted = points + 1.5 * texel * vertex_normals(mesh).float()
    helper = torch.eye(3).to(towards)[towards.abs().argmin(-1)]
    right = functional.normalize(torch.linalg.cross(towards, helper), dim=-1)
    # Rows: image x, image y, depth away from the light.
    axes = torch.stack((right, torch.linalg.cross(right, towards), -towards), 1)
    columns = [
        _arrives(points, lifted, mesh.topology, part, resolution) for part in axes.split(_MAPS)
    ]
    return torch.cat(columns).T.contiguous()


def _arrives(
    points: Tensor, lifted: Tensor, faces: Topology, axes: Tensor, resolution: int
) -> Tensor:
    """Visibility ``m v`` of lifted points along the last of each of m sets of axes."""
    # The maps are orthographic. The rasterizer wants pixels times a positive depth; so far away
    # that its perspective-correct interpolation is linear to within the bias below.
    far = 100.0
    scale = resolution / (2 * 1.02)

    def project(positions: Tensor) -> Tensor:
        local = positions @ axes.mT
        pixels = local[..., :2] * scale + resolution / 2
        return torch.cat((pixels, local[..., 2:]), -1)

    drawn = project(points)
    depth = drawn[..., 2:] / far + 1
    fragments = rasterize(
        torch.cat((drawn[..., :2] * depth, depth), -1), faces, resolution, resolution
    )
    covered = fragments.face >= 0
    nearest = torch.where(covered, (fragments.depth - 1) * far, torch.full_like(fragments.depth, 2))
    target = project(lifted)
    # Percentage-closer filtering: compare with the four pixels around, then blend the verdicts.
    corner = (target[..., :2] - 0.5).floor()
    fraction = target[..., :2] - 0.5 - corner
    column, row = corner.long().clamp(0, resolution - 2).unbind(-1)
    maps = nearest.flatten(1)
    # A pixel's depth may belong to a point half a pixel away on a sloped surface; the lift along
    # the normal covers that, this covers float32.
    limit = target[..., 2] - 1e-4
    verdicts = []
    for dy in (0, 1):
        for dx in (0, 1):
            found = maps.gather(1, (row + dy) * resolution + column + dx)
            verdicts.append((limit <= found).to(target))
    u, v = fraction.unbind(-1)
    top = torch.lerp(verdicts[0], verdicts[1], u)
    bottom = torch.lerp(verdicts[2], verdicts[3], u)
    return torch.lerp(top, bottom, v).clamp(0, 1)


class _Transfer(torch.autograd.Function):
    """sum_i V_vi max(n_v . w_i, 0) L_i without ever holding the whole table of terms."""

    @staticmethod
    def forward(table: Tensor, normals: Tensor, towards: Tensor, radiance: Tensor) -> Tensor:
        out = radiance.new_empty(*normals.shape[:2], radiance.shape[-1])
        for start in range(0, table.shape[0], _CHUNK):
            part = slice(start, start + _CHUNK)
            terms = (normals[:, part] @ towards.T).clamp_min_(0).mul_(table[part])
            out[:, part] = terms @ radiance
        return out

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        table, normals, towards, radiance = ctx.saved_tensors
        grad_normals = torch.empty_like(normals) if ctx.needs_input_grad[1] else None
        grad_radiance = torch.zeros_like(radiance) if ctx.needs_input_grad[3] else None
        for start in range(0, table.shape[0], _CHUNK):
            part = slice(start, start + _CHUNK)
            cosine = normals[:, part] @ towards.T
            if grad_radiance is not None:
                terms = cosine.clamp_min(0).mul_(table[part])
                grad_radiance += (grad[:, part].mT @ terms).mT
            if grad_normals is not None:
                slope = (grad[:, part] @ radiance.mT).mul_(table[part])
                slope = torch.ops.aten.threshold_backward(slope, cosine, 0)
                grad_normals[:, part] = slope @ towards
        return None, grad_normals, None, grad_radiance


def occluded_irradiance(
    table: Float[Tensor, "v d"],
    normals: Float[Tensor, "m v 3"],
    radiance: Float[Tensor, "m d c"],
) -> Float[Tensor, "m v c"]:
    """Irradiance at every vertex through a visibility table.

    Args:
        table: from :func:`visibility`.
        normals: unit vectors, object frame.
        radiance: what arrives from each of :func:`directions`, object frame.

    Gradients:
        Reach ``normals`` and ``radiance``; not the table.

    Source:
        Sloan, Kautz & Snyder, Precomputed radiance transfer (2002), with a quadrature over
        directions in place of their basis.
    """
    count = table.shape[1]
    weighted = radiance * (4 * math.pi / count)
    return _Transfer.apply(table, normals, directions(count).to(normals), weighted)


@torch.no_grad()
def openness(table: Float[Tensor, "v d"], axes: Float[Tensor, "m v 3"]) -> Float[Tensor, "m v 1"]:
    """Fraction of light that a glossy surface gets from around an axis, through a visibility table.

    Visibility is projected to spherical harmonics of order 2 and smoothed to a clamped cosine's
    width: a soft occlusion, about right for rough surfaces and too soft for mirrors.

    Args:
        table: from :func:`visibility`.
        axes: unit vectors, object frame, about which each vertex's reflection gathers light.

    Gradients:
        None.
    """
    towards = directions(table.shape[1]).to(table)
    projected = harmonics.basis(towards, 2)
    projected = harmonics.irradiance_coefficients(projected.T).T
    coefficients = table @ (projected * (4 / table.shape[1]))
    return (harmonics.basis(axes, 2) * coefficients).sum(-1, keepdim=True).clamp(0, 1)
