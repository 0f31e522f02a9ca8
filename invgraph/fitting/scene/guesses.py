"""Where a trained encoder says that a known object may be: starts for a tracker."""

from jaxtyping import Float
from torch import Tensor

from invgraph.fitting.pose.known_object import KnownObject
from invgraph.fitting.scene.descent import descend
from invgraph.fitting.scene.find import look_at_places
from invgraph.fitting.scene.object_prior import POSE
from invgraph.fitting.scene.scene_model import SceneModel
from invgraph.geometry.lens import Lens
from invgraph.scene.distributions import PoseInView

_SAME = 0.05  # relative difference of sizes of one object
_WINDOWS = 2
# Fewer and shorter descents than where nothing comes after them.
_STARTS, _KEPT, _STEPS = 4, 2, 20


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
        self._model = model

    def __call__(self, photo: Float[Tensor, "h w 3"], lens: Lens) -> Float[Tensor, "k 4 4"]:
        """``camera_from_object`` of the file's frame.

        Args:
            photo: linear RGB.
            lens: of the photo.
        """
        places, held = self._model.heat(photo).top(_WINDOWS)
        views = look_at_places(self._model, photo, lens, places[0])
        belief, _ = self._model(views.images, views.lens)
        prior = self._model.known.prior.given(views.lens)
        ends = descend(prior, belief, views.images, views.lens, _STARTS, _KEPT, _STEPS)
        poses = self._model.known.camera_from_object(views.camera_from_view @ ends.values[POSE])
        evidence = ends.log_likelihood + held[0].clamp_min(1e-6).log()
        order = evidence.flatten().argsort(descending=True)
        return poses.flatten(0, 1)[order]
