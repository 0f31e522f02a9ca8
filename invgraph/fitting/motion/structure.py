"""First motion of a video's keyframes: incremental mapping of points that were followed."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from invgraph.fitting.cameras.colmap_engine import load_engine, run_cancellable
from invgraph.fitting.motion.tracks import Tracks
from invgraph.runs.progress import Progress

# Keyframes so far apart are compared. More pairs hardly add to the chains of points.
_STEPS = (1, 2, 3, 4, 6, 8, 12, 16)
_LEAST_SHARED = 30
_NOISE_PX = 2.0
_LEAST_ANGLE_DEG = 0.5  # a camera that drives forward sees little more


@dataclass(frozen=True, eq=False)
class Structure:
    """Keyframes' poses and points, in pixels of an ideal lens.

    Attributes:
        placed: which keyframes have poses, counted from 0 among the keyframes.
        poses: ``k 4 4``, camera_from_world.
        points: ``m 3``, world frame.
        numbers: ``m``, which point of the tracks each is.
        focal: pixels.
        bend: radial distortion k1.
        seen: per placed keyframe, rows of ``points`` that it sees.
    """

    placed: list[int]
    poses: Float[np.ndarray, "k 4 4"]
    points: Float[np.ndarray, "m 3"]
    numbers: np.ndarray
    focal: float
    bend: float
    seen: list[np.ndarray]


def build(
    tracks: Tracks,
    rays: list[Float[np.ndarray, "_ 2"]],
    focal: float,
    known: bool,
    size: tuple[int, int],
    work: Path | None,
    threads: int,
    progress: Progress,
) -> Structure | None:
    """Map the keyframes; None if they allow no start.

    Args:
        tracks: points in keyframes.
        rays: per keyframe ``n 2``, its points on the image plane at z = 1, by the first lens.
        focal: of the first lens, pixels; it is refined.
        known: whether it is better than a guess.
        size: (height, width) of the pictures.
        work: folder for the engine's files; the system's own when None.
        threads: to use.
        progress: hears how many keyframes are placed.

    Source:
        Schönberger and Frahm, Structure-from-Motion Revisited (2016).
    """
    engine = load_engine()
    centre = np.array([size[1], size[0]]) / 2
    with tempfile.TemporaryDirectory(dir=work) as folder:
        path = Path(folder) / "points.db"
        camera = engine.Camera(
            camera_id=1,
            model="SIMPLE_RADIAL",
            width=size[1],
            height=size[0],
            params=[focal, *centre, 0.0],
            has_prior_focal_length=known,
        )
        _write(path, camera, tracks, [ray * focal + centre for ray in rays])
        checking = engine.TwoViewGeometryOptions()
        checking.ransac.random_seed = 0
        checking.ransac.max_error = _NOISE_PX
        checking.ransac.max_num_trials = 1000
        engine.geometric_verification(
            path,
            engine.GeometricVerifierOptions(num_threads=threads),
            engine.ExistingMatchedPairingOptions(),
            checking,
        )
        model = _largest(path, Path(folder), threads, len(tracks.keyframes), progress)
    return None if model is None else _taken(model, tracks)


def _write(path: Path, camera: Any, tracks: Tracks, places: list[np.ndarray]) -> None:
    """A database in which points that were followed are features with matches."""
    engine = load_engine()
    database = engine.Database.open(path)
    try:
        with engine.DatabaseTransaction(database):
            database.write_camera(camera, use_camera_id=True)
            rig = engine.Rig(rig_id=1)
            rig.add_ref_sensor(camera.sensor_id)
            database.write_rig(rig, use_rig_id=True)
            for index, place in enumerate(places):
                image = engine.Image(name=f"{index:08d}", camera_id=1, image_id=index + 1)
                database.write_image(image, use_image_id=True)
                pose = engine.Frame(frame_id=index + 1, rig_id=1)
                pose.add_data_id(image.data_id)
                database.write_frame(pose, use_frame_id=True)
                features = np.zeros((len(place), 4), np.float32)
                features[:, :2], features[:, 2] = place, 1
                database.write_keypoints(index + 1, features)
            for i, j, shared in _pairs(tracks):
                database.write_matches(i + 1, j + 1, shared)
    finally:
        database.close()


def _pairs(tracks: Tracks) -> list[tuple[int, int, np.ndarray]]:
    """Keyframes that share points, and which ones."""
    points = [tracks.points[frame] for frame in tracks.keyframes]
    found = []
    for i in range(len(points)):
        for step in _STEPS:
            if i + step >= len(points):
                break
            _, a, b = np.intersect1d(points[i], points[i + step], return_indices=True)
            if len(a) < _LEAST_SHARED:
                break
            found.append((i, i + step, np.stack((a, b), 1).astype(np.uint32)))
    return found


def _largest(path: Path, folder: Path, threads: int, count: int, progress: Progress) -> Any:
    """The engine's reconstruction of most keyframes; None if there is none."""
    engine = load_engine()
    options = engine.IncrementalPipelineOptions(
        num_threads=threads,
        random_seed=0,
        min_model_size=min(count, 3),
        max_num_models=3,
        extract_colors=False,
        # Rarer and shorter adjustments than usual: halves the time, and aligning pictures follows.
        ba_global_frames_ratio=1.4,
        ba_global_points_ratio=1.4,
        ba_global_max_refinements=2,
        ba_local_max_refinements=1,
    )
    mapper, triangulation = options.mapper, options.triangulation
    mapper.num_threads = threads
    mapper.random_seed = triangulation.random_seed = 0
    # Steps are short and often straight ahead, where the usual bounds leave no pair to start from
    # and no points to go on with.
    mapper.init_max_forward_motion = 1.0
    mapper.init_min_tri_angle = 4.0
    mapper.init_min_num_inliers = 50
    mapper.init_max_error = _NOISE_PX
    mapper.abs_pose_max_error = 2 * _NOISE_PX
    mapper.filter_max_reproj_error = _NOISE_PX
    mapper.filter_min_tri_angle = _LEAST_ANGLE_DEG
    triangulation.min_angle = _LEAST_ANGLE_DEG
    triangulation.ignore_two_view_tracks = False
    triangulation.create_max_angle_error = 1.0
    triangulation.continue_max_angle_error = 1.0
    placed = [2]

    def added() -> None:
        placed[0] += 1

    def watch() -> None:
        done = min(placed[0], count)
        progress.update(done / count, f"{done} of {count} keyframes")

    def work(token: Any) -> Any:
        return engine.incremental_mapping(
            path, folder, folder, options, next_image_callback=added, cancellation_token=token
        )

    models = run_cancellable(work, watch)
    return max(models.values(), key=lambda model: model.num_reg_images(), default=None)


def _taken(model: Any, tracks: Tracks) -> Structure:
    placed = sorted(i - 1 for i in model.reg_image_ids())
    numbers = np.array(sorted(model.point3D_ids()))
    row_of = {int(number): row for row, number in enumerate(numbers)}
    poses = np.tile(np.eye(4), (len(placed), 1, 1))
    seen, tracked = [], np.full(len(numbers), -1)
    for row, index in enumerate(placed):
        image = model.image(index + 1)
        poses[row, :3] = np.asarray(image.cam_from_world().matrix())
        own = tracks.points[tracks.keyframes[index]]
        rows = []
        for k, place in enumerate(image.points2D):
            if place.has_point3D():
                rows.append(row_of[place.point3D_id])
                tracked[rows[-1]] = own[k]
        seen.append(np.array(rows, np.int64))
    points = np.stack([model.point3D(int(number)).xyz for number in numbers])
    focal, _, _, bend = model.camera(1).params
    return Structure(placed, poses, points, tracked, float(focal), float(bend), seen)
