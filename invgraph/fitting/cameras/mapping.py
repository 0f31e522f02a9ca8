"""Poses, points and lenses from matches: incremental mapping with bundle adjustment."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from invgraph.fitting.cameras.colmap_engine import load_engine, run_cancellable
from invgraph.fitting.cameras.lens_groups import LensGroup
from invgraph.runs.progress import Progress

_OUTLIER_PX = 0.5  # residuals beyond, about twice the features' noise, count linearly
_REFINED_PHOTOS = 6  # a lens seen by fewer keeps one distortion term and a centred principal point


def map_photos(
    database: Path,
    count: int,
    lenses: Sequence[LensGroup],
    threads: int,
    seed: int,
    progress: Progress,
) -> list[Any]:
    """The engine's reconstructions, the one with the most photos first; [] if there is none.

    Args:
        database: with features and matches.
        count: photos.
        lenses: those given beforehand stay as they are.
        threads: to use.
        seed: of the random choices.
        progress: hears how many photos are placed.
    """
    engine = load_engine()
    progress.stage("placing cameras")
    options = engine.IncrementalPipelineOptions(
        num_threads=threads,
        random_seed=seed,
        min_model_size=min(count, 3),
        max_num_models=8,
        extract_colors=False,
        constant_cameras={i + 1 for i, lens in enumerate(lenses) if lens.given is not None},
    )
    options.mapper.num_threads = threads
    options.mapper.random_seed = seed
    options.triangulation.random_seed = seed
    placed = [0, 0]  # photos in the current model, most in any

    def began() -> None:
        placed[0] = 2

    def added() -> None:
        placed[0] += 1
        placed[1] = max(placed)

    def work(token: Any) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            return engine.incremental_mapping(
                database,
                folder,
                folder,
                options,
                initial_image_pair_callback=began,
                next_image_callback=added,
                cancellation_token=token,
            )

    models = run_cancellable(
        work,
        lambda: progress.update(min(1.0, placed[1] / count), f"{placed[1]} of {count} photos"),
    )
    return sorted(models.values(), key=lambda model: (-model.num_reg_images(), model.summary()))


def refine(model: Any, lenses: Sequence[LensGroup], threads: int) -> None:
    """Adjust everything once more, robustly, with principal points and a second radial term.

    Lenses that took few photos keep the simpler model that the mapping used: the principal point
    cannot be told from a turn of the cameras there. Tangential distortion stays out for the same
    reason.
    """
    engine = load_engine()
    photos: dict[int, int] = {}
    config = engine.BundleAdjustmentConfig()
    for image_id in model.reg_image_ids():
        config.add_image(image_id)
        camera_id = model.image(image_id).camera_id
        photos[camera_id] = photos.get(camera_id, 0) + 1
    for camera_id, number in photos.items():
        if lenses[camera_id - 1].given is not None or number < _REFINED_PHOTOS:
            config.set_constant_cam_intrinsics(camera_id)
            continue
        camera = model.camera(camera_id)
        focal, cx, cy, k1 = camera.params
        camera.model = engine.CameraModelId.RADIAL
        camera.params = np.array([focal, cx, cy, k1, 0.0])
    config.fix_gauge(engine.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    options = engine.BundleAdjustmentOptions(refine_principal_point=True, print_summary=False)
    options.ceres.loss_function_type = engine.LossFunctionType.SOFT_L1
    options.ceres.loss_function_scale = _OUTLIER_PX
    options.ceres.solver_options.num_threads = threads
    options.ceres.solver_options.max_num_iterations = 50
    engine.create_default_bundle_adjuster(options, config, model).solve()
    model.update_point_3d_errors()
