"""The networks of a training of depth, and one step of it."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from invgraph.encoders import DepthNet, MotionNet, ResNet
from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.scene.belief import DepthBelief
from invgraph.train.base_module import Learning
from invgraph.train.frame_groups import Groups
from invgraph.train.objective import Explained, shrunk, view_synthesis
from invgraph.train.settings import DepthSettings

_LENS_RATE = 10.0  # times the networks'


class DepthTraining(Learning):
    """Depth and motion learned from view synthesis.

    Args:
        settings: of the training.
        unknown: for each recording, whether its focal length is unknown and learned.
        encoder: of the depth network, if its weights come from elsewhere.

    Attributes:
        depth: the depth network.
        motion: the motion network; None where motion is found beforehand.
        log_focal: per recording, logarithm of a factor of the focal length.
    """

    networks = ("depth", "motion")
    images = 3
    score = "photometric"
    settings: DepthSettings
    unknown: Tensor

    def __init__(
        self, settings: DepthSettings, unknown: list[bool], encoder: ResNet | None = None
    ) -> None:
        super().__init__(settings)
        self.depth = DepthNet(encoder or ResNet(settings.network), settings.scales)
        self.motion = None
        if settings.motion == "learned":
            self.motion = MotionNet(ResNet(settings.network, channels=6))
        self.log_focal = nn.Parameter(torch.zeros(len(unknown)), requires_grad=any(unknown))
        self.register_buffer("unknown", torch.tensor(unknown), persistent=False)
        self.complete()

    def explain(self, groups: Groups) -> dict[str, Tensor]:
        """The loss of some groups, and its parts, meaned over the scales."""
        beliefs, motions = self._found(groups)
        total: dict[str, Tensor] = {}
        for level in range(len(beliefs)):
            for name, part in self._explained(groups, beliefs, motions, level).parts.items():
                total[name] = total.get(name, torch.zeros(())) + part / len(beliefs)
        return total

    def surprise(self, groups: Groups) -> Tensor:
        """How far depth is off, in units of its predicted scale, one number per pixel."""
        beliefs, motions = self._found(groups)
        found = self._explained(groups, beliefs, motions, 0)
        return (found.residual / beliefs[0].scale)[found.certain > 0]

    def _found(self, groups: Groups) -> tuple[list[DepthBelief], Tensor]:
        beliefs, steps = self.beliefs(groups), self.steps(groups)
        # Only the networks work in half precision: a pose in it would be off by a pixel.
        with torch.autocast(self.device.type, enabled=False):
            return beliefs, self._motions(groups, steps)

    def _explained(
        self, groups: Groups, beliefs: list[DepthBelief], motions: Tensor, level: int
    ) -> Explained:
        with torch.autocast(self.device.type, enabled=False):
            images = shrunk(groups.images, 2 ** (level + 1))
            camera = self._camera(groups).resize(*images.shape[2:4])
            return view_synthesis(
                images,
                beliefs[level],
                camera,
                motions,
                self.settings.pieces,
                self.settings.weights,
                groups.teacher if level == 0 else None,
                (~self._paired(groups)).float() if groups.poses is None else None,
            )

    def beliefs(self, groups: Groups) -> list[DepthBelief]:
        """Depth of every frame at every scale, ``g n h w``."""
        shape = groups.varied.shape[:2]
        planes = groups.varied.flatten(0, 1).movedim(-1, 1)
        # What is enlarged looks nearer than it is.
        zoom = groups.zoom.log()[:, None, None, None]
        found = []
        for belief in self.depth(planes):
            log_depth = belief.log_depth.unflatten(0, shape) + zoom
            found.append(DepthBelief(log_depth, belief.scale.unflatten(0, shape)))
        return found

    def steps(self, groups: Groups) -> Tensor | None:
        """The network's ``(rho, phi)`` from each frame of a group to the next, ``g n-1 6``."""
        if groups.poses is not None:
            return None
        assert self.motion is not None
        planes = groups.varied.movedim(-1, 2)
        steps = self.motion(planes[:, :-1].flatten(0, 1), planes[:, 1:].flatten(0, 1))
        return steps.unflatten(0, planes[:, 1:].shape[:2])

    def _motions(self, groups: Groups, steps: Tensor | None) -> Tensor:
        """source_from_target for all pairs of frames, ``g n n 4 4``."""
        poses = groups.poses
        if poses is None:
            assert steps is not None
            moves = transforms.perturb(torch.eye(4, device=steps.device), steps)
            last = torch.where(self._paired(groups)[:, None, None], groups.pair, moves[:, -1])
            moves = torch.cat((moves[:, :-1], last[:, None]), 1)
            chain = [torch.eye(4, device=moves.device).expand_as(moves[:, 0])]
            for k in range(moves.shape[1]):
                chain.append(moves[:, k] @ chain[-1])
            poses = torch.stack(chain, 1)
        return poses[:, None] @ transforms.invert(poses)[:, :, None]

    def _paired(self, groups: Groups) -> Tensor:
        """Which groups end with the right photo of a stereo pair."""
        return groups.pair[:, 3, 3] > 0

    def _camera(self, groups: Groups) -> Camera:
        factor = torch.where(self.unknown[groups.clip], self.log_focal[groups.clip], 0.0).exp()
        eye = torch.eye(4, device=factor.device).expand(len(factor), 4, 4)
        return Camera(replace(groups.lens, focal=groups.lens.focal * factor[:, None]), eye)

    def families(self) -> list[dict[str, Any]]:
        rate = _LENS_RATE * self.settings.rate
        lens = {"params": [self.log_focal], "lr": rate, "weight_decay": 0.0}
        return [*super().families(), lens]
