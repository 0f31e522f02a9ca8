"""Where a known object is: in one image, or through a video."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invgraph.data.frame import Frame
from invgraph.fitting.pose.assess import Assessment, assess
from invgraph.fitting.pose.color_model import MARGIN, ColorModel, initial_color_model, learn_palette
from invgraph.fitting.pose.image_descent import ROUNDS, ImageDescent
from invgraph.fitting.pose.known_object import KnownObject, make_object
from invgraph.fitting.pose.mixture import is_there, mixture, nowhere
from invgraph.fitting.pose.refine import Fit, slide
from invgraph.fitting.pose.search import search, search_close
from invgraph.fitting.pose.surface import VertexColors
from invgraph.fitting.pose.window import Target, Window, check_view, crop_window
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.scene import Material, Object, Scene, SphericalHarmonicLight
from invgraph.scene.belief import PoseBelief

SURE = 0.6  # score from which its colours are learnt
# Evidence of the outline from which a given pose, refined, is not looked for: close, and farther.
# An object that has not its model's colour needs the second, too: right ones have 1.1 and more,
# wrong ones less than 0.
CLEAR, ENOUGH = 1.2, 0.8
ROUGH = 5, 3  # strides in a short try of some starts, of which the best two are refined
NARROW = (3, 2, 1, 1)  # strides around an initial pose that the outline alone improves
GAIN = 1.0  # in likelihood for which an initial pose is changed before colours are learnt
DISTANCES = (0.85, 1.0, 1.18)  # around the initial one at which a start is tried
RETRY = 5  # frames between searches of the whole image while the object is lost

# From linear RGB and its lens to poses ``camera_from_object``, likeliest first, and whether the
# object is there, as far as the guess can tell.
Guess = Callable[[Float[Tensor, "h w 3"], Lens], tuple[Float[Tensor, "k 4 4"], bool]]


@dataclass(frozen=True, eq=False)
class Tracked:
    """One frame of a video, explained.

    Attributes:
        frame: the photograph.
        belief: where the object is.
        seconds: that it took, decoding left out.
        scene: the object at its pose under the light that was found; the camera is at the origin.
        hidden: pixels where something else is in front of the object.
        learnt: whether the object's colours come from photos rather than from its model.
    """

    frame: Frame
    belief: PoseBelief
    seconds: float
    scene: Scene
    hidden: Bool[Tensor, "h w"]
    learnt: bool


class Tracker:
    """Follows one object from image to image.

    Args:
        model: the object.
        lens: of the images.
        init: ``camera_from_object`` in the first image, near which the object is looked for there;
            None to search all of it, which needs a model with colours.
        guess: tells poses at which the object may be in an image, so that it is only searched for
            where none of them is right.

    Raises:
        ValueError: neither a pose nor colours, or a pose from which the object is not in view.
    """

    def __init__(
        self,
        model: KnownObject,
        lens: Lens,
        init: Float[Tensor, "4 4"] | None = None,
        guess: Guess | None = None,
    ) -> None:
        if init is None and model.albedo is None:
            raise ValueError(
                f"the model {model.name} has no colours, so nothing tells where to look for it; "
                "give the pose in the first image (--pose), or a model with a texture."
            )
        self.model = model
        self.camera = Camera(lens, torch.eye(4))
        if init is not None:
            check_view(model, self.camera, init)
        self.pose = init
        self._guess = guess
        self._lost = 0
        self.color_model: ColorModel | None = None

    @torch.no_grad()
    def step(
        self, image: Float[Tensor, "h w 3"]
    ) -> tuple[PoseBelief, Assessment | None, Window | None]:
        """Find the object in the next image (linear RGB).

        An object that is one colour all over and is not near its initial pose may be painted
        otherwise than its file says: then it is looked for there once more, as one of unknown
        colours. As these are learnt at a pose that may be wrong, they prove nothing: its outline
        has to be clear, which takes a pose that is nearly right.
        """
        target, start = Target(image, self.camera), self.pose
        doubtful = self.color_model is None and start is not None and self.model.one_color
        found = self._find(target)
        if doubtful and not _is_there(found):
            bare = make_object(self.model.mesh, None, self.model.name)
            other = Tracker(bare, self.camera.lens, start, self._guess)
            seen = other._find(target)
            if _is_there(seen, ENOUGH):
                self.model, self.color_model, self.pose = bare, other.color_model, other.pose
                self._lost = 0
                return seen
        return found

    def _find(self, target: Target) -> tuple[PoseBelief, Assessment | None, Window | None]:
        first = self.color_model is None
        if first:
            if self.pose is not None and self.model.albedo is None:
                self.pose = self._by_outline(target, self.pose)
            self.color_model = initial_color_model(self.model, target, self.pose)
        color_model = self.color_model
        assert color_model is not None
        here = ImageDescent(self.model, target, color_model, self.pose)
        candidates = []
        if self.pose is not None and (first or self._lost == 0):
            if first and self.model.albedo is not None:
                starts = [_at_distance(self.pose, share) for share in DISTANCES]
                starts = [
                    slide(self.model, target, color_model.vertex_colors, start) for start in starts
                ]
                rough = here.descend([self.pose, *starts], ROUGH, 1)
                starts = [fit.pose for fit, _, _ in rough[:2]]
                candidates += here.descend(starts, rounds=ROUNDS)
            else:
                start = slide(self.model, target, color_model.vertex_colors, self.pose)
                candidates += here.descend([start])
        near = candidates
        if (self.model.albedo is not None or not first) and self._lost % RETRY == 0:
            for find, clear in self._searches(target, color_model, first):
                if candidates and here.clear(candidates[0], clear):
                    break
                candidates = candidates + here.try_starts(find())
                candidates.sort(key=lambda item: -item[2].likelihood)
            else:
                tried = near and candidates is not near
                if tried and not here.clear(candidates[0]):
                    candidates = near  # an expected pose gives way to none that is as doubtful
        if not candidates:
            self._lost += 1
            pose = self.pose if self.pose is not None else torch.eye(4)
            return nowhere(pose), None, None
        if first or self._lost:
            candidates[0] = here.settle(candidates[0])
        fit, window, verdict = candidates[0]
        belief = mixture(self.model, candidates)
        if is_there(verdict):
            self._advance(target, fit, window, verdict)
        else:
            self._lost += 1
        return belief, verdict, window

    def scene(self, belief: PoseBelief, light: Float[Tensor, "9 3"]) -> Scene:
        """The object as it is known by now, at the likeliest pose."""
        assert self.color_model is not None
        material = Material(
            self.color_model.vertex_colors.albedo,
            torch.ones(1),
            torch.zeros(1),
            albedo_kind="vertex",
        )
        thing = Object(self.model.mesh, belief.pose, material)
        return Scene((thing,), (SphericalHarmonicLight(light),))

    def _by_outline(self, target: Target, pose: Tensor) -> Tensor:
        """An initial pose, improved by the outline alone if that explains the image better."""
        window = crop_window(self.model, target.camera, pose, MARGIN)
        assert window is not None
        vertex_colors = VertexColors.plain(len(self.model.normals))
        palette = learn_palette(self.model, target, pose, window, vertex_colors)
        bare = ColorModel(palette, vertex_colors)
        before = assess(self.model, target, palette, vertex_colors, pose, window)
        after = ImageDescent(self.model, target, bare, pose).descend([pose], NARROW, rounds=ROUNDS)
        if before is None or not after or after[0][2].likelihood < before.likelihood + GAIN:
            return pose
        return after[0][0].pose

    def _searches(
        self, target: Target, color_model: ColorModel, first: bool
    ) -> Iterator[tuple[Callable[[], list[Tensor]], float]]:
        """Where else to look, and from which evidence of the outline there is no need to."""
        wide = partial(search, self.model, target, color_model.palette, color_model.vertex_colors)
        if first and self.pose is not None:
            yield (
                partial(search_close, self.model, target, color_model.vertex_colors, self.pose),
                CLEAR,
            )
            yield partial(wide, self.pose), ENOUGH
        else:
            clear = -math.inf
            if self._guess is not None:
                sure = False

                def guessed() -> list[Tensor]:
                    nonlocal sure
                    assert self._guess is not None
                    poses, sure = self._guess(target.linear, target.camera.lens)
                    return list(poses)

                yield guessed, clear
                clear = -math.inf if sure else ENOUGH
            for near in dict.fromkeys((self.pose, None)):
                yield partial(wide, near), clear

    def _advance(self, target: Target, fit: Fit, window: Window, verdict: Assessment) -> None:
        assert self.color_model is not None
        self.pose, self._lost = fit.pose, 0
        if verdict.score > SURE:
            self.color_model = self.color_model.learnt(
                self.model, target, fit.pose, window, verdict
            )


def _is_there(
    found: tuple[PoseBelief, Assessment | None, Window | None], clear: float = -math.inf
) -> bool:
    """Whether the object is said to be found, with so much evidence of its outline."""
    verdict = found[1]
    return verdict is not None and is_there(verdict) and verdict.border >= clear


def _at_distance(pose: Tensor, share: float) -> Tensor:
    """The object moved along its line of sight."""
    moved = pose.clone()
    moved[:3, 3] *= share
    return moved


@torch.no_grad()
def estimate_pose(
    image: Float[Tensor, "h w 3"],
    lens: Lens,
    model: KnownObject,
    init: Float[Tensor, "4 4"] | None = None,
    guess: Guess | None = None,
) -> PoseBelief:
    """Where a known object is in one image.

    Args:
        image: linear RGB.
        lens: of the image.
        model: the object.
        init: about where it is, ``camera_from_object``: within two diameters and 75 degrees; None
            to search everywhere, which needs a model with colours.
        guess: as for :class:`Tracker`.

    Raises:
        ValueError: neither a pose nor colours, or a pose from which the object is not in view.
    """
    return Tracker(model, lens, init, guess).step(image)[0]


def track(
    frames: Sequence[Frame],
    lens: Lens,
    model: KnownObject,
    init: Float[Tensor, "4 4"] | None = None,
    guess: Guess | None = None,
) -> Iterator[Tracked]:
    """Follow a known object through a video.

    Args:
        frames: in the order of time.
        lens: of all frames.
        model: the object.
        init: ``camera_from_object`` in the first frame; None to search for it.
        guess: as for :class:`Tracker`.

    Raises:
        ValueError: as for :func:`estimate_pose`, or a frame cannot be read.
    """
    tracker = Tracker(model, lens, init, guess)
    for frame in frames:
        image, _ = frame.load()
        began = time.monotonic()
        belief, verdict, window = tracker.step(image)
        seconds = time.monotonic() - began
        hidden = torch.zeros(image.shape[:2], dtype=torch.bool)
        light = torch.zeros(9, 3)
        if verdict is not None and window is not None:
            hidden, light = window.paste(verdict.hidden), verdict.light
        learnt = tracker.model.albedo is None
        yield Tracked(frame, belief, seconds, tracker.scene(belief, light), hidden, learnt)
