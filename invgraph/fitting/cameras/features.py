"""Features of photographs, and the database that keeps them."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from invgraph.data.frame import Frame
from invgraph.data.images import UnreadableImage
from invgraph.fitting.cameras.colmap_engine import load_engine
from invgraph.fitting.cameras.lens_groups import LensGroup
from invgraph.runs.progress import Progress

_MANY_PHOTOS = 300  # from here on fewer features per photo: matching takes their square
_MOST_FEATURES = (8192, 4096)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def open_database(
    path: Path, frames: Sequence[Frame], lenses: Sequence[LensGroup], lens_of: Sequence[int]
) -> Any:
    """The features' database; one that was begun earlier goes on.

    Photo ``i`` has the image id ``i + 1`` and the name ``i`` in eight digits.
    """
    engine = load_engine()
    if path.exists():
        database = engine.Database.open(path)
        if database.num_images() == len(frames):
            return database
        database.close()
        for part in path.parent.glob(f"{path.name}*"):
            part.unlink()
    database = engine.Database.open(path)
    with engine.DatabaseTransaction(database):
        rigs = []
        for index, lens in enumerate(lenses):
            camera = lens.start()
            camera.camera_id = index + 1
            database.write_camera(camera, use_camera_id=True)
            rig = engine.Rig(rig_id=index + 1)
            rig.add_ref_sensor(camera.sensor_id)
            database.write_rig(rig, use_rig_id=True)
            rigs.append(rig)
        for index in range(len(frames)):
            lens = lens_of[index]
            image = engine.Image(name=f"{index:08d}", camera_id=lens + 1, image_id=index + 1)
            database.write_image(image, use_image_id=True)
            pose = engine.Frame(frame_id=index + 1, rig_id=rigs[lens].rig_id)
            pose.add_data_id(image.data_id)
            database.write_frame(pose, use_frame_id=True)
    return database


def extract_features(
    database: Any,
    frames: Sequence[Frame],
    lenses: Sequence[LensGroup],
    lens_of: Sequence[int],
    threads: int,
    progress: Progress,
) -> list[str]:
    """Find features in every photo that has none in the database yet.

    Where a photo has a mask only features on the object are kept, so that an object on a turntable
    is not tied to the room that stands still around it.

    Returns:
        "name: reason" of photos that could not be decoded.
    """
    progress.stage("finding features")
    todo = [i for i in range(len(frames)) if not database.exists_keypoints(i + 1)]
    most = _MOST_FEATURES[len(frames) >= _MANY_PHOTOS]
    finder = _Finder(most)
    unreadable = []
    done = len(frames) - len(todo)
    jobs = ((i, (frames[i], lenses[lens_of[i]])) for i in todo)
    for index, job in _in_parallel(finder, jobs, threads):
        try:
            keypoints, descriptors = job.result()
        except UnreadableImage as error:
            unreadable.append(f"{frames[index].name}: {error}")
            keypoints, descriptors = np.zeros((0, 4), np.float32), np.zeros((0, 128), np.uint8)
        engine = load_engine()
        with engine.DatabaseTransaction(database):
            database.write_keypoints(index + 1, keypoints)
            database.write_descriptors(
                index + 1,
                engine.FeatureDescriptors(engine.FeatureExtractorType.SIFT, descriptors),
            )
        done += 1
        progress.update(done / len(frames), f"{done} of {len(frames)} photos")
    return unreadable


def _in_parallel(finder: "_Finder", jobs: Any, threads: int) -> Iterator[tuple[int, Future]]:
    """Results in order; only a few photos are held at a time."""
    waiting: deque[tuple[int, Future]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for index, arguments in jobs:
                waiting.append((index, pool.submit(finder, *arguments)))
                if len(waiting) > threads:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for _, job in waiting:
                job.cancel()


class _Finder:
    """Finds features; one extractor per thread."""

    def __init__(self, most: int) -> None:
        engine = load_engine()
        self._options = engine.FeatureExtractionOptions(use_gpu=False, num_threads=1)
        self._options.sift.max_num_features = most
        self._own = threading.local()

    def __call__(
        self, frame: Frame, lens: LensGroup
    ) -> tuple[Float[np.ndarray, "n 4"], UInt8[np.ndarray, "n 128"]]:
        engine = load_engine()
        if not hasattr(self._own, "extractor"):
            self._own.extractor = engine.FeatureExtractor.create(self._options, engine.Device.cpu)
        grey = _grey(frame, lens.feature_size)
        found, described = self._own.extractor.extract_from_uint8_array(grey)
        keypoints = np.asarray(engine.keypoints_to_matrix(found), np.float32).reshape(-1, 4)
        descriptors = np.asarray(described.data).reshape(-1, 128)
        # In whole photos' pixels, then scaled alike along both axes: rounding a size stretches it.
        keypoints[:, 0] *= lens.size[1] / grey.shape[1]
        keypoints[:, 1] *= lens.size[0] / grey.shape[0]
        mask = frame.load_mask()
        if mask is not None:
            columns, rows = keypoints[:, :2].astype(np.int64).T
            inside = mask.numpy() >= 0.5
            rows, columns = rows.clip(0, mask.shape[0] - 1), columns.clip(0, mask.shape[1] - 1)
            chosen = inside[rows, columns]
            keypoints, descriptors = keypoints[chosen], descriptors[chosen]
        keypoints[:, :2] *= lens.scale
        return keypoints, np.ascontiguousarray(descriptors)


def _grey(frame: Frame, size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    from PIL import Image

    levels = frame.levels()
    plane = levels[..., :3] @ _LUMA if levels.shape[2] >= 3 else levels[..., 0].astype(np.float32)
    if levels.dtype == np.uint16:
        plane = plane / 257
    if plane.shape != size:
        small = Image.fromarray(plane.astype(np.float32)).resize(
            (size[1], size[0]), Image.Resampling.BOX
        )
        plane = np.asarray(small)
    return np.ascontiguousarray(plane.round().clip(0, 255).astype(np.uint8))
