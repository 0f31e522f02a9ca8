"""Where the world's origin is, which way is up, and what one unit is: photographs do not say."""

from typing import Any

import numpy as np
from jaxtyping import Float

from invgraph.fitting.cameras.colmap_engine import load_engine

_LEVEL = 0.05  # weight of "images are upright" against "images are level"


def normalise(model: Any) -> None:
    """Move, turn and scale a reconstruction into one standard frame, in place.

    The origin is the median of the points. z is up: the direction that images' upper edges point
    to and that is square to their rows, since people hold cameras level more often than
    horizontal. The first photo looks along +y. One unit is the usual distance from a camera to what
    it sees. All of this is as good as those habits; none of it is known.

    Args:
        model: the engine's reconstruction.
    """
    engine = load_engine()
    images = [model.image(i) for i in sorted(model.reg_image_ids())]
    poses = np.stack([np.asarray(image.cam_from_world().matrix()) for image in images])
    points = np.stack([point.xyz for point in model.points3D.values()])
    depths = [
        float(np.median((_seen(model, image) @ pose[2, :3]) + pose[2, 3]))
        for image, pose in zip(images, poses, strict=True)
        if image.num_points3D
    ]
    scale = 1 / float(np.median(depths))
    up = upward(poses[:, :3, :3])
    rotation = _frame(up, poses[0, :3, :3])
    origin = np.median(points @ rotation.T, axis=0)
    matrix = scale * np.column_stack([rotation, -origin])
    model.transform(engine.Sim3d(matrix))


def _seen(model: Any, image: Any) -> Float[np.ndarray, "n 3"]:
    return np.stack(
        [
            model.point3D(seen.point3D_id).xyz
            for seen in image.points2D
            if seen.has_point3D() and model.exists_point3D(seen.point3D_id)
        ]
    )


def upward(rotations: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, " 3"]:
    """Unit vector that points up in the world.

    Args:
        rotations: camera from world; x is along image rows, y down.
    """
    rows, above = rotations[:, 0], -rotations[:, 1].mean(0)
    normal = rows.T @ rows / len(rows) + _LEVEL * np.eye(3)
    up = np.linalg.solve(normal, above)
    if np.linalg.norm(above) < 1e-3:  # cameras all around, looking down: up is where they are
        up = -rotations[:, 2].mean(0)
    length = float(np.linalg.norm(up))
    return up / length if length > 1e-9 else -rotations[0, 1]


def _frame(
    up: Float[np.ndarray, " 3"], first: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "3 3"]:
    """The rotation after which ``up`` is z and the first camera looks along y."""
    forward = first[2] - up * (first[2] @ up)
    if np.linalg.norm(forward) < 1e-3:  # it looks straight up or down: its upper edge leads
        forward = -first[1] + up * (first[1] @ up)
    forward = forward / np.linalg.norm(forward)
    return np.stack([np.cross(forward, up), forward, up])
