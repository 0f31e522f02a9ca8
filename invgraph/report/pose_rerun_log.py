"""An object that was followed through photos, as a log for rerun's viewer."""

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from invgraph.data.object_pose_files import PoseRow, read_hypotheses, read_rows
from invgraph.geometry.mesh import vertex_normals
from invgraph.report.rerun_log import ORANGE, TIMELINE, jpeg, pinhole, recorded
from invgraph.runs.folder import file_stem
from invgraph.runs.reader import HYPOTHESES, OVERLAYS, TRACK, CameraRecord, read_cameras
from invgraph.scene.scene_files import load_scene

if TYPE_CHECKING:
    from rerun import Mesh3D, RecordingStream

GREY = (190, 190, 190)


def write_track_rerun_log(run: Path) -> None:
    """Write ``recording.rrd``: photos with outlines, the mesh at its poses, scores, uncertainty.

    Everything is in the camera's frame. Names stay data: no entity is named after a file.

    Args:
        run: the folder of the run; its overlays are the photos.

    Raises:
        ImportError: ``rerun-sdk`` is not installed.
        ValueError: a table of the run is damaged.
        OSError: there is no table of poses.
    """
    import rerun as rr

    rows = read_rows(run / TRACK)
    hypotheses = read_hypotheses(run / HYPOTHESES)
    with recorded(run, _blueprint) as stream:
        stream.log("camera", rr.ViewCoordinates.RDF, static=True)
        path = [row.pose[:3, 3] for row in rows if row.found]
        lines = rr.LineStrips3D([path], colors=ORANGE, radii=rr.Radius.ui_points(1.0))
        stream.log("camera/path", lines, static=True)
        mesh, reach = _mesh(run)
        camera = next(iter(read_cameras(run)), None)
        there = False
        for index, row in enumerate(rows):
            stream.set_time(TIMELINE, sequence=index)
            _log_picture(stream, run / OVERLAYS / f"{file_stem(index, row.frame)}.jpg", camera)
            _log_words(stream, row)
            if row.found:
                pose = rr.Transform3D(translation=row.pose[:3, 3], mat3x3=row.pose[:3, :3])
                stream.log("camera/object", pose)
                if mesh is not None and not there:
                    stream.log("camera/object/mesh", mesh)
            elif there:
                stream.log("camera/object/mesh", rr.Clear(recursive=False))
            there = row.found
            others = [pose for _, pose in hypotheses.get(row.frame, [])[1:]] if row.found else []
            _log_hypotheses(stream, others, reach)


def _blueprint():
    import rerun.blueprint as rrb

    pictures = rrb.Vertical(
        rrb.Spatial2DView(origin="camera/image", contents="$origin/photo", name="photo"),
        rrb.Spatial2DView(origin="camera/image", contents="$origin/difference", name="difference"),
    )
    curves = rrb.Vertical(
        rrb.TimeSeriesView(origin="score", name="score"),
        rrb.TimeSeriesView(origin="sigma", name="1σ, mm and degrees"),
        rrb.TextDocumentView(origin="pose", name="pose"),
    )
    scene = rrb.Spatial3DView(
        origin="camera", contents=["+ $origin/**", "- camera/image/difference"], name="scene"
    )
    return rrb.Blueprint(
        rrb.Horizontal(scene, pictures, curves, column_shares=[2, 2, 1]), collapse_panels=True
    )


def _mesh(run: Path) -> "tuple[Mesh3D | None, float]":
    """The object, and the length of its axes; no mesh where the run has none that is readable."""
    import rerun as rr

    try:
        item = load_scene(run).objects[0]
    except (ValueError, IndexError):
        return None, 0.1
    colors = None
    if item.material.albedo_kind == "vertex":
        from invgraph.geometry.color import srgb_bytes_from_linear

        colors = srgb_bytes_from_linear(item.material.albedo).numpy()
    vertices = item.mesh.vertices
    mesh = rr.Mesh3D(
        vertex_positions=vertices.numpy(),
        triangle_indices=item.mesh.faces.numpy(),
        vertex_normals=vertex_normals(item.mesh).numpy(),
        vertex_colors=colors if colors is not None else [GREY] * len(vertices),
    )
    return mesh, 0.4 * float((vertices.amax(0) - vertices.amin(0)).norm())


def _log_picture(stream: "RecordingStream", file: Path, camera: CameraRecord | None) -> None:
    """The two halves of a photo's overlay, in front of the camera."""
    from PIL import Image

    with contextlib.suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        with Image.open(file, formats=("JPEG",)) as image:
            picture = image.convert("RGB")
        size = (picture.width // 2, picture.height)
        if camera is not None:
            stream.log("camera/image", pinhole(camera.camera.lens, size))
        for half, role in enumerate(("photo", "difference")):
            box = (half * size[0], 0, (half + 1) * size[0], size[1])
            stream.log(f"camera/image/{role}", jpeg(np.asarray(picture.crop(box))))


def _log_words(stream: "RecordingStream", row: PoseRow) -> None:
    import rerun as rr

    stream.log("score", rr.Scalars(row.score))
    lines = [f"**{'found' if row.found else 'lost'}**, score {row.score:.3f}"]
    if row.found:
        for name, value in (("mm", row.sigma_mm), ("deg", row.sigma_deg)):
            if math.isfinite(value):
                stream.log(f"sigma/{name}", rr.Scalars(value))
        x, y, z = 1e3 * row.pose[:3, 3]
        lines.append(f"camera_from_object: {x:.1f}, {y:.1f}, {z:.1f} mm")
        deviations = np.sqrt(row.covariance.diagonal().clip(0))
        lines.append(
            "1σ along x, y, z: " + ", ".join(f"{1e3 * d:.2f}" for d in deviations[:3]) + " mm"
        )
        about = ", ".join(f"{math.degrees(d):.2f}" for d in deviations[3:])
        lines.append(f"1σ about x, y, z: {about} degrees")
    stream.log(
        "pose", rr.TextDocument("\n\n".join([row.frame, *lines]), media_type="text/markdown")
    )


def _log_hypotheses(stream: "RecordingStream", others: list[np.ndarray], reach: float) -> None:
    """The axes of further hypotheses; none clears those of the photo before."""
    import rerun as rr

    if not others:
        stream.log("camera/hypotheses", rr.Clear(recursive=False))
        return
    origins = np.concatenate([np.repeat(pose[None, :3, 3], 3, 0) for pose in others])
    vectors = np.concatenate([reach * pose[:3, :3].T for pose in others])
    stream.log("camera/hypotheses", rr.Arrows3D(origins=origins, vectors=vectors))
