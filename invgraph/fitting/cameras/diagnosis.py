"""Why photographs give no cameras, said so that a photographer can help it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from invgraph.fitting.cameras.colmap_engine import load_engine
from invgraph.fitting.cameras.lens_groups import LensGroup
from invgraph.fitting.cameras.quality import Quality

FEW_FEATURES = 40
_LEAST_SHARE = 2 / 3  # of the photos that need a camera
_LEAST_ANGLE_DEG = 1.6
_LEAST_POINTS = 30
_MOST_ERROR = 1.5e-3  # of the longer side
_ROTATIONS = 0.9  # of the pairs are explained by a turn alone
_SQUASH = 0.02  # a homography this close to a rotation is one
_USABLE = ("CALIBRATED", "UNCALIBRATED", "PLANAR", "PANORAMIC", "PLANAR_OR_PANORAMIC", "MULTIPLE")


def check_features(name: str, counts: Sequence[int], masked: bool) -> None:
    """Refuse photos with too little to hold on to.

    Raises:
        ValueError: fewer than two photos show enough.
    """
    if sum(count >= FEW_FEATURES for count in counts) >= 2:
        return
    where = "inside the masks " if masked else ""
    raise ValueError(
        f"{name}: {len(counts)} photos show too little detail {where}to find cameras (median "
        f"{int(np.median(counts))} features, expected at least {FEW_FEATURES}): they are blurred, "
        "or the surface is plain; take sharp photos, and put something patterned into the scene."
    )


class MatchGraph:
    """Which photos share points.

    Args:
        database: the engine's, after matching.
        names: of the photos.
        lens_of: index of each photo's lens.
        lenses: of the capture.
    """

    def __init__(
        self,
        database: Any,
        names: Sequence[str],
        lens_of: Sequence[int],
        lenses: Sequence[LensGroup],
    ) -> None:
        engine = load_engine()
        kinds = {int(getattr(engine.TwoViewGeometryConfiguration, kind)) for kind in _USABLE}
        self._names = names
        self.pairs: list[tuple[int, int]] = []
        self._turns: list[tuple[Float[np.ndarray, "3 3"], LensGroup, LensGroup]] = []
        for pair, found in zip(*database.read_two_view_geometries(), strict=True):
            if int(found.config) not in kinds or not len(found.inlier_matches):
                continue
            i, j = (image_id - 1 for image_id in engine.pair_id_to_image_pair(pair))
            self.pairs.append((i, j))
            flat = "PANORAMIC" in engine.TwoViewGeometryConfiguration(found.config).name
            if flat and found.H is not None:
                self._turns.append((np.asarray(found.H), lenses[lens_of[i]], lenses[lens_of[j]]))
        self._loose: dict[tuple[int, int], int] = {}
        for pair, count in zip(*database.read_num_matches(), strict=True):
            first, second = engine.pair_id_to_image_pair(pair)
            self._loose[first - 1, second - 1] = count

    def check(self, capture: str) -> None:
        """Refuse photos before the long work, where the matches already show that it is in vain.

        Raises:
            ValueError: nothing matches, or the camera only turned.
        """
        if not self.pairs:
            raise ValueError(
                f"{capture}: no two of {len(self._names)} photos have enough in common to find "
                "cameras; take them so that each shows at least half of what the one before shows."
            )
        if self._only_turned():
            raise ValueError(f"{capture}: {_NO_PARALLAX}")

    def _only_turned(self) -> bool:
        """Whether nearly all pairs differ by a turn of the camera, with one focal length."""
        if len(self._turns) < _ROTATIONS * len(self.pairs):
            return False
        best = np.inf
        for focal in np.geomspace(0.4, 5.0, 40):
            squash = [_squash(h, first, second, focal) for h, first, second in self._turns]
            best = min(best, float(np.quantile(squash, _ROTATIONS)))
        return best < _SQUASH

    def groups(self) -> list[list[int]]:
        """Photos that matches connect, the largest group first; lone photos are groups too."""
        parent = list(range(len(self._names)))

        def root(i: int) -> int:
            while parent[i] != i:
                parent[i] = parent[parent[i]]
                i = parent[i]
            return i

        for i, j in self.pairs:
            parent[root(j)] = root(i)
        members: dict[int, list[int]] = {}
        for i in range(len(parent)):
            members.setdefault(root(i), []).append(i)
        return sorted(members.values(), key=lambda group: (-len(group), group[0]))

    def bridge(self, first: Sequence[int], second: Sequence[int]) -> tuple[str, str] | None:
        """The two photos of different groups that look most alike; None if none do."""
        one, other = set(first), set(second)
        across = {
            pair: count
            for pair, count in self._loose.items()
            if count
            and ((pair[0] in one and pair[1] in other) or (pair[1] in one and pair[0] in other))
        }
        if not across:
            return None
        i, j = max(sorted(across), key=across.__getitem__)
        return self._names[i], self._names[j]


_NO_PARALLAX = (
    "the camera turned but hardly moved, so nothing tells near from far; walk sideways or around "
    "the subject between photos instead of turning on the spot."
)


def _squash(homography: np.ndarray, first: LensGroup, second: LensGroup, focal: float) -> float:
    """How far a homography is from a rotation, for a focal length in longer sides; 0 if it is."""
    m = np.linalg.inv(_pinhole(second, focal)) @ homography @ _pinhole(first, focal)
    values = np.linalg.svd(m, compute_uv=False)
    return float(values[0] / max(values[2], 1e-12) - 1)


def _pinhole(lens: LensGroup, focal: float) -> Float[np.ndarray, "3 3"]:
    height, width = lens.feature_size
    f = focal * max(height, width)
    if lens.given is not None:
        f = float(lens.given.focal.mean()) * lens.scale
    elif lens.focal is not None:
        f = lens.focal * lens.scale
    return np.array([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1]])


def explain_missing(
    capture: str, names: Sequence[str], models: Sequence[Sequence[int]], matches: MatchGraph
) -> None:
    """Refuse a reconstruction that leaves too many photos out.

    Args:
        capture: its name.
        names: of the photos.
        models: indices of the photos of each reconstruction, the largest first.
        matches: between the photos.

    Raises:
        ValueError: fewer than two thirds of the photos have a camera.
    """
    best = list(models[0]) if models else []
    if len(best) >= max(2, _LEAST_SHARE * len(names)):
        return
    groups = [group for group in matches.groups() if len(group) > 1]
    if len(groups) < 2 and len(models) > 1:
        groups = [list(model) for model in models]
    if len(groups) > 1:
        bridge = matches.bridge(groups[0], groups[1])
        between = f", for instance between {bridge[0]} and {bridge[1]}," if bridge else ""
        listed = "; ".join(_list(names, group) for group in groups[:4])
        more = f" and {len(groups) - 4} more" if len(groups) > 4 else ""
        raise ValueError(
            f"{capture}: the photos fall into {len(groups)} groups without a common view: "
            f"{listed}{more}; take photos between them{between} that show parts of both, or fit "
            "each group on its own."
        )
    if not best:
        raise ValueError(
            f"{capture}: the matches between {len(names)} photos give no cameras: they are too few "
            "or the camera hardly moved; take more photos, each a few steps to the side of the one "
            "before and showing at least half of what that one shows."
        )
    lost = sorted(set(range(len(names))) - set(best))
    raise ValueError(
        f"{capture}: only {len(best)} of {len(names)} photos have enough in common to find their "
        f"cameras; without: {_list(names, lost)}; take photos between these and the others, or "
        "remove them."
    )


def _list(names: Sequence[str], group: Sequence[int]) -> str:
    """``a to c, x (4 photos)``: runs of photos that follow each other."""
    runs: list[list[int]] = []
    for i in sorted(group):
        if runs and runs[-1][-1] == i - 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    words = [
        names[run[0]] if len(run) == 1 else f"{names[run[0]]} to {names[run[-1]]}"
        for run in runs[:5]
    ]
    more = ", ..." if len(runs) > 5 else ""
    return f"{', '.join(words)}{more} ({len(group)} photo{'' if len(group) == 1 else 's'})"


def check_quality(capture: str, quality: Quality, longest_side: int) -> None:
    """Refuse cameras that nothing can be built on.

    Args:
        capture: its name.
        quality: of the reconstruction.
        longest_side: of the photos, pixels.

    Raises:
        ValueError: too few points, hardly any parallax, or points that reproject badly.
    """
    if quality.angle_deg < _LEAST_ANGLE_DEG:
        raise ValueError(f"{capture}: {_NO_PARALLAX}")
    if quality.points < _LEAST_POINTS:
        raise ValueError(
            f"{capture}: only {quality.points} points are seen by several photos, expected at "
            f"least {_LEAST_POINTS}; take more photos of a patterned scene, in smaller steps."
        )
    limit = max(1.5, _MOST_ERROR * longest_side)
    if quality.reprojection_px > limit:
        raise ValueError(
            f"{capture}: the recovered cameras miss the features by {quality.reprojection_px:.1f} "
            f"px, expected at most {limit:.1f}; keep the scene still, and zoom and focus fixed."
        )
