"""Where a trained encoder says that a known object may be: starts for a tracker."""

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.fitting.pose.known_object import KnownObject
from invgraph.fitting.scene.find import WINDOWS, Look, looks
from invgraph.fitting.scene.object_prior import ACROSS, POSE
from invgraph.fitting.scene.scene_model import SceneModel
from invgraph.geometry.lens import Lens
from invgraph.geometry.transforms import difference
from invgraph.scene.distributions import PoseInView

_SAME = 0.05  # relative difference of sizes of one object, and of places on its surface
_LIKELY = 0.75  # agreement at which no other place is looked at: a tracker judges it
_TURN = 0.3  # rad, within which poses are one
# Fewer and shorter descents than where nothing comes after them.
_STARTS, _KEPT, _STEPS = 3, 1, 14


class Guesses:
    """Poses of a known object in a photo, likeliest first.

    Args:
        model: trained on the object.
        known: the object.

    Raises:
        ValueError: the model is of another object.
    """

    def __init__(self, model: SceneModel, known: KnownObject) -> None:
        pose = model.known.prior.distributions[POSE]
        assert isinstance(pose, PoseInView)
        radius = float((known.mesh.vertices - known.centre).norm(dim=-1).max())
        if abs(radius / pose.radius - 1) > _SAME:
            raise ValueError(
                f"the encoder was trained on {model.known.name}, {2 * pose.radius:.3g} m across, "
                f"but {known.name} has {2 * radius:.3g} m; give the encoder of this object, "
                "trained with the same --object-scale."
            )
        [thing], (mine, _) = model.known.prior.template.objects, known.coarse(ACROSS)
        gaps = torch.cdist(thing.mesh.vertices, mine.vertices - known.centre)
        if max(float(gaps.amin(axis).mean()) for axis in (0, 1)) > _SAME * radius:
            raise ValueError(
                f"the encoder was trained on {model.known.name}, which has another shape than "
                f"{known.name}; give the encoder of this object."
            )
        self._model = model

    def __call__(
        self, photo: Float[Tensor, "h w 3"], lens: Lens
    ) -> tuple[Float[Tensor, "k 4 4"], bool]:
        """``camera_from_object`` of the file's frame, and whether the first shows the object.

        Args:
            photo: linear RGB.
            lens: of the photo.
        """
        model, seen = self._model, []
        for view, guess in looks(model, photo, lens, model.heat(photo), WINDOWS):
            look = Look.after_descent(model, view, guess, _STARTS, _KEPT, _STEPS)
            seen.append(look)
            if look.agreement > _LIKELY:
                break
        seen.sort(key=lambda look: -look.agreement)
        apart: list[Tensor] = []
        for pose in torch.cat([look.poses(model) for look in seen]):
            away = [difference(pose, other) for other in apart]
            near = (float(step[3:].norm()) < _TURN for step in away)
            apart += [pose] if not any(near) else []
        return torch.stack(apart), seen[0].score > 0.5
