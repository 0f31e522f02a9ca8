"""Which pairs of photographs to compare, and comparing them."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from invgraph.files.atomic import write_atomically
from invgraph.fitting.cameras.colmap_engine import load_engine, run_cancellable
from invgraph.runs.progress import Progress

EXHAUSTIVE = 80  # up to so many photos every pair is compared
_STEPS_ORDERED = 6  # neighbours in time, then every power of two
_STEPS_UNORDERED = 2
_ALIKE_ORDERED = 3
_ALIKE_UNORDERED = 20
_WORDS = 32
_PER_PHOTO = 400  # features that describe a whole photo
_BLOCK = 100  # pairs compared between two looks at the progress


def choose_pairs(database: Any, count: int, ordered: bool) -> list[tuple[int, int]]:
    """Pairs of photos (from 0) worth comparing.

    All of them for few photos. For many, neighbours in the order of the capture (closely, then at
    distances 8, 16, 32, ... if it is a recording in time) and photos that look alike as a whole:
    their features, summed up as by Jégou et al., are near.

    Args:
        database: holds the features.
        count: photos.
        ordered: they were recorded one after the other.

    Source:
        Jégou et al., Aggregating local descriptors into a compact image representation (2010).
    """
    if count <= EXHAUSTIVE:
        return [(i, j) for i in range(count) for j in range(i + 1, count)]
    steps = list(range(1, (_STEPS_ORDERED if ordered else _STEPS_UNORDERED) + 1))
    if ordered:
        steps += [2**power for power in range(3, 8)]
    pairs = {(i, i + step) for step in steps for i in range(count - step)}
    described = _describe(database, count)
    alike = _ALIKE_ORDERED if ordered else _ALIKE_UNORDERED
    apart = steps[-1] if not ordered else _STEPS_ORDERED
    for i in range(count):
        likeness = described @ described[i]
        likeness[max(0, i - apart) : i + apart + 1] = -np.inf
        for j in np.argsort(-likeness, kind="stable")[:alike]:
            pairs.add((min(i, int(j)), max(i, int(j))))
    return sorted(pairs)


def _describe(database: Any, count: int) -> Float[np.ndarray, "n d"]:
    """One unit vector per photo: how its features differ from the nearest of a few words."""
    from scipy.cluster.vq import kmeans2, vq

    generator = np.random.default_rng(0)
    sample = []
    for index in generator.permutation(count)[:300]:
        sample.append(_some(database, int(index), 100))
    words = kmeans2(np.concatenate(sample), _WORDS, iter=10, minit="++", rng=generator)[0]
    described = np.zeros((count, _WORDS * 128), np.float32)
    for index in range(count):
        features = _some(database, index, _PER_PHOTO)
        nearest = vq(features, words)[0]
        total = np.zeros((_WORDS, 128), np.float32)
        np.add.at(total, nearest, features - words[nearest])
        vector = np.sign(total) * np.sqrt(np.abs(total))
        described[index] = vector.ravel() / max(float(np.linalg.norm(vector)), 1e-12)
    return described


def _some(database: Any, index: int, most: int) -> Float[np.ndarray, "n 128"]:
    """The coarsest features of a photo: what most of its neighbours see as well."""
    keypoints = np.asarray(database.read_keypoints(index + 1)).reshape(-1, 4)
    descriptors = np.asarray(database.read_descriptors(index + 1).data).reshape(-1, 128)
    chosen = np.argsort(-keypoints[:, 2], kind="stable")[:most]
    return descriptors[chosen].astype(np.float32) / 512


def match(
    path: Path, pairs: list[tuple[int, int]], threads: int, seed: int, progress: Progress
) -> None:
    """Compare pairs and keep the matches that a rigid scene allows; pairs that are done stay.

    Args:
        path: the database.
        pairs: of photos, from 0.
        threads: to use.
        seed: of the random samples.
        progress: hears how many pairs are compared.
    """
    engine = load_engine()
    progress.stage("matching photos")
    listed = path.with_name("pairs.txt")
    matching = engine.FeatureMatchingOptions(use_gpu=False, num_threads=threads)
    pairing = engine.ImportedPairingOptions(match_list_path=str(listed), block_size=_BLOCK)
    checking = engine.TwoViewGeometryOptions()
    checking.ransac.random_seed = seed
    # Between blocks and not by looking into the database, which two SQLite libraries in one
    # process would damage.
    for start in range(0, len(pairs), _BLOCK):
        done = start / len(pairs), f"{start} of {len(pairs)} pairs of photos"
        progress.update(*done)
        block = pairs[start : start + _BLOCK]
        write_atomically(listed, "".join(f"{i:08d} {j:08d}\n" for i, j in block).encode())
        run_cancellable(
            lambda token: engine.match_image_pairs(
                path, matching, pairing, checking, engine.Device.cpu, token
            ),
            lambda done=done: progress.update(*done),
        )
