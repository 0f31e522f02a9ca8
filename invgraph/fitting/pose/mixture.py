"""What is believed about a pose, from the hypotheses that explain the image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from invgraph.fitting.pose.assess import Assessment
from invgraph.fitting.pose.known_object import KnownObject
from invgraph.fitting.pose.refine import Fit
from invgraph.fitting.pose.window import Window
from invgraph.geometry.transforms import difference
from invgraph.scene.belief import PoseBelief

FOUND = 0.35  # score from which the object is said to be there,
EVIDENCE = 25.0  # and log-likelihood over that of an image without it
WORSE = 8.0  # log-likelihood below the best at which a hypothesis is dropped
# The errors of neighbouring measurements go together: the information of all is this much less.
# Found on rendered frames (experiments/refine_pose.py).
SHARED_ERROR = 1.5
FLOOR_M, FLOOR_RAD = 2e-4, 1e-3  # no pose is known better than that

Candidate = tuple[Fit, Window, Assessment]


def mixture(model: KnownObject, candidates: Sequence[Candidate]) -> PoseBelief:
    """The mixture of the candidates that are not much worse than the best, each place once."""
    kept: list[tuple[Fit, Assessment]] = []
    for fit, _, verdict in candidates:
        if kept and kept[0][1].likelihood - verdict.likelihood > WORSE:
            break
        away = [difference(fit.pose, other.pose) for other, _ in kept]
        if all(
            float(step[3:].norm()) > 0.1 or float(step[:3].norm()) > 0.05 * model.diameter
            for step in away
        ):
            kept.append((fit, verdict))
    weights = torch.softmax(torch.tensor([verdict.likelihood for _, verdict in kept]), 0)
    score = kept[0][1].score
    return PoseBelief(
        torch.stack([fit.pose for fit, _ in kept]),
        weights,
        torch.stack([_covariance(fit.information) for fit, _ in kept]),
        score,
        is_there(kept[0][1]),
    )


def is_there(verdict: Assessment) -> bool:
    """Whether the object is said to be found."""
    return verdict.score >= FOUND and verdict.likelihood >= EVIDENCE


def _covariance(information: Tensor) -> Tensor:
    floor = torch.tensor([FLOOR_M] * 3 + [FLOOR_RAD] * 3).square()
    # Scaled to like units before the inversion: metres and radians differ by much.
    scale = information.diagonal().clamp_min(1e-3).rsqrt()
    scaled = scale[:, None] * information * scale + 1e-6 * torch.eye(6)
    return SHARED_ERROR * scale[:, None] * torch.linalg.inv(scaled) * scale + torch.diag(floor)


def nowhere(pose: Tensor) -> PoseBelief:
    return PoseBelief(pose[None], torch.ones(1), 1e2 * torch.eye(6)[None], 0.0, False)
