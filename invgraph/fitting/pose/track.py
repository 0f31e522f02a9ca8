"""Where a known object is: in one image, or through a video."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invgraph.data.frame import Frame
from invgraph.fitting.pose.assess import Assessment, assess
from invgraph.fitting.pose.color_model import MARGIN, ColorModel, initial_color_model, learn_palette
from invgraph.fitting.pose.hypotheses import Comparison, descend
from invgraph.fitting.pose.known_object import KnownObject
from invgraph.fitting.pose.mixture import (
    SOLVED,
    WORSE,
    Candidate,
    is_there,
    mixture,
    nowhere,
)
from invgraph.fitting.pose.refine import Fit, refine, slide
from invgraph.fitting.pose.search import search, search_close
from invgraph.fitting.pose.surface import VertexColors
from invgraph.fitting.pose.window import Target, Window, check_view, crop_window
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.transforms import difference
from invgraph.scene import Material, Object, Scene, SphericalHarmonicLight
from invgraph.scene.belief import PoseBelief

SURE = 0.6  # score from which its colours are learnt
# Evidence of the outline from which a given pose, refined, is not looked for: close, and farther.
CLEAR, ENOUGH = 1.2, 0.8
STRIDES = (5, 3, 2, 1, 1)  # px between samples across the outline, step by step
ROUGH = 5, 3  # the same for a short try of some starts, of which the best two are refined
NARROW = (3, 2, 1, 1)  # strides around an initial pose that the outline alone improves
GAIN = 1.0  # in likelihood for which an initial pose is changed before colours are learnt
ROUNDS = 4  # of refinement when the colours around the object are not known yet,
ROUGH_ROUNDS = 2  # and the first of them, in which nothing is taken to be in front of the object
# Rounds in which the likeliest pose comes to rest without what hides it, and their strides.
SETTLING, FINE = 4, (2, 1, 1)
# Steps on the likelihood from poses that were found, px across renders, and how many are refined.
POLISHING, POLISHED_PX, POLISHED = 4, 56.0, 4
DISTANCES = (0.85, 1.0, 1.18)  # around the initial one at which a start is tried
FARTHER = 2.0  # times the distance: nothing moves so far between images, no start is so wrong
USUAL = 0.1, 0.25  # error of an expected pose: relative to its distance, and rad
SURPRISE = 3.0  # weight of its logarithm in the likelihood
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
    """

    frame: Frame
    belief: PoseBelief
    seconds: float
    scene: Scene
    hidden: Bool[Tensor, "h w"]


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
        """Find the object in the next image (linear RGB)."""
        target = Target(image, self.camera)
        first = self.color_model is None
        if first:
            if self.pose is not None and self.model.albedo is None:
                self.pose = self._by_outline(target, self.pose)
            self.color_model = initial_color_model(self.model, target, self.pose)
        color_model = self.color_model
        assert color_model is not None
        candidates = []
        if self.pose is not None and (first or self._lost == 0):
            if first and self.model.albedo is not None:
                starts = [_at_distance(self.pose, share) for share in DISTANCES]
                starts = [
                    slide(self.model, target, color_model.vertex_colors, start) for start in starts
                ]
                rough = self._descend(target, color_model, starts, ROUGH, 1)
                starts = [fit.pose for fit, _, _ in rough[:2]]
                candidates += self._descend(target, color_model, starts, rounds=ROUNDS)
            else:
                start = slide(self.model, target, color_model.vertex_colors, self.pose)
                candidates += self._descend(target, color_model, [start])
        near = candidates
        if (self.model.albedo is not None or not first) and self._lost % RETRY == 0:
            for find, clear in self._searches(target, color_model, first):
                if candidates and self._clear(target, color_model, candidates[0], clear):
                    break
                candidates = candidates + self._try(target, color_model, find())
                candidates.sort(key=lambda item: -item[2].likelihood)
            else:
                tried = near and candidates is not near
                if tried and not self._clear(target, color_model, candidates[0]):
                    candidates = near  # an expected pose gives way to none that is as doubtful
        if not candidates:
            self._lost += 1
            pose = self.pose if self.pose is not None else torch.eye(4)
            return nowhere(pose), None, None
        if first or self._lost:
            candidates[0] = self._settle(target, color_model, candidates[0])
        fit, window, verdict = candidates[0]
        belief = self._told(target, color_model, mixture(self.model, candidates), candidates[0])
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

    def _descend(
        self,
        target: Target,
        color_model: ColorModel,
        starts: Sequence[Tensor],
        strides: tuple[int, ...] = STRIDES,
        rounds: int = 0,
    ) -> list[Candidate]:
        """Refine every start, the likeliest result first.

        With rounds, a result is the likeliest pose after any of them, or the start itself; its
        covariance is that of the last.

        Args:
            rounds: how often the palette is learnt where the pose has come to and the pose refined
                with it; 0 to trust the palette.
        """
        found = []
        for start in starts:
            fit = Fit(start, torch.zeros(6, 6))
            seen = best = self._judge(target, color_model, start) if rounds else None
            pose = start
            for turn in range(max(rounds, 1)):
                if rounds and seen is not None:
                    window, verdict = seen
                    hidden = verdict.hidden if turn >= ROUGH_ROUNDS else None
                    fit = self._refined(target, color_model, fit.pose, window, strides, hidden)
                else:
                    fit = refine(
                        self.model,
                        target,
                        color_model.palette,
                        color_model.vertex_colors,
                        fit.pose,
                        strides,
                    )
                seen = self._judge(target, color_model, fit.pose) if fit else None
                if fit is None or seen is None:
                    break
                if best is None or seen[1].likelihood > best[1].likelihood:
                    pose, best = fit.pose, seen
            if best is not None and fit is not None:
                window, verdict = best
                likelihood = verdict.likelihood - self._surprise(pose)
                found.append(
                    (replace(fit, pose=pose), window, replace(verdict, likelihood=likelihood))
                )
        return sorted(found, key=lambda item: -item[2].likelihood)

    def _refined(
        self,
        target: Target,
        color_model: ColorModel,
        pose: Tensor,
        window: Window,
        strides: tuple[int, ...],
        hidden: Tensor | None,
    ) -> Fit | None:
        """A pose refined by the colours that are around it, without those of hidden pixels."""
        palette = learn_palette(
            self.model,
            target,
            pose,
            window,
            color_model.vertex_colors,
            color_model.palette,
            hidden,
        )
        hidden = None if hidden is None else window.paste(hidden)
        return refine(self.model, target, palette, color_model.vertex_colors, pose, strides, hidden)

    def _settle(self, target: Target, color_model: ColorModel, chosen: Candidate) -> Candidate:
        """The likeliest pose, refined until it rests.

        The likelihood tells hypotheses apart, but between poses that are millimetres apart it is
        rough: pixels count as a whole, and colours of what hides the object count too. Least
        squares without the hidden pixels is finer. The hypothesis stays as likely as it was.
        """
        fit, window, verdict = chosen
        for _ in range(SETTLING):
            finer = self._refined(target, color_model, fit.pose, window, FINE, verdict.hidden)
            seen = self._judge(target, color_model, finer.pose) if finer else None
            if finer is None or seen is None:
                break
            likelihood = seen[1].likelihood - self._surprise(finer.pose)
            if likelihood < chosen[2].likelihood - WORSE:
                break
            fit, (window, verdict) = finer, seen
        return fit, window, replace(verdict, likelihood=chosen[2].likelihood)

    def _told(
        self, target: Target, color_model: ColorModel, belief: PoseBelief, chosen: Candidate
    ) -> PoseBelief:
        """The belief, with the verdict under any camera if the object would not be found else.

        The pose stays: with this verdict in the descents, poses went astray.
        """
        verdict = None if belief.found else self._under_any_camera(target, color_model, chosen)
        return belief if verdict is None else replace(belief, score=verdict.score, found=True)

    def _clear(
        self, target: Target, color_model: ColorModel, chosen: Candidate, clear: float = -math.inf
    ) -> bool:
        """Whether the object is there, by this camera or any, and its outline as clear."""
        _, _, verdict = chosen
        if is_there(verdict) and verdict.border >= clear:
            return True
        return self._under_any_camera(target, color_model, chosen) is not None

    def _under_any_camera(
        self, target: Target, color_model: ColorModel, chosen: Candidate
    ) -> Assessment | None:
        """The verdict if what a camera makes of colours is solved, and the object then is there."""
        fit, window, _ = chosen
        colors = color_model.vertex_colors
        if colors.source == "seen":  # by this camera
            return None
        verdict = assess(
            self.model, target, color_model.palette, colors, fit.pose, window, any_camera=True
        )
        if verdict is None:
            return None
        likelihood = verdict.likelihood - self._surprise(fit.pose)
        return verdict if is_there(replace(verdict, likelihood=likelihood), SOLVED) else None

    def _judge(
        self, target: Target, color_model: ColorModel, pose: Tensor
    ) -> tuple[Window, Assessment] | None:
        """What the image says about a pose; None if it is out of the question."""
        if self._far_off(pose):
            return None
        window = crop_window(self.model, target.camera, pose, MARGIN)
        if window is None:
            return None
        verdict = assess(
            self.model, target, color_model.palette, color_model.vertex_colors, pose, window
        )
        return None if verdict is None else (window, verdict)

    def _by_outline(self, target: Target, pose: Tensor) -> Tensor:
        """An initial pose, improved by the outline alone if that explains the image better."""
        window = crop_window(self.model, target.camera, pose, MARGIN)
        assert window is not None
        vertex_colors = VertexColors.plain(len(self.model.normals))
        palette = learn_palette(self.model, target, pose, window, vertex_colors)
        bare = ColorModel(palette, vertex_colors)
        before = assess(self.model, target, palette, vertex_colors, pose, window)
        after = self._descend(target, bare, [pose], NARROW, rounds=ROUNDS)
        if before is None or not after or after[0][2].likelihood < before.likelihood + GAIN:
            return pose
        return after[0][0].pose

    def _surprise(self, pose: Tensor) -> float:
        """What it costs to be far from where the object is expected: no more than it must."""
        if self.pose is None:
            return 0.0
        step = difference(self.pose, pose)
        share = float(step[:3].norm() / self.pose[2, 3]) / USUAL[0]
        return SURPRISE * math.log1p(share**2 + (float(step[3:].norm()) / USUAL[1]) ** 2)

    def _far_off(self, pose: Tensor) -> bool:
        """Whether the object would be at quite another distance than where it is expected."""
        if self.pose is None:
            return False
        return not 1 / FARTHER < float(pose[2, 3] / self.pose[2, 3]) < FARTHER

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

    def _try(
        self, target: Target, color_model: ColorModel, starts: list[Tensor]
    ) -> list[Candidate]:
        """Descend on the likelihood itself from some poses, and refine what has become likeliest.

        A refinement alone is faster, but led astray by what is in front of the object.
        """
        if not starts:
            return []
        comparison = Comparison(self.model, target, color_model.vertex_colors, POLISHED_PX)
        polished = descend(comparison, torch.stack(starts), POLISHING)
        best = comparison.likelihood(polished).argsort(descending=True)[:POLISHED]
        return self._descend(target, color_model, list(polished[best]), rounds=ROUNDS)

    def _advance(self, target: Target, fit: Fit, window: Window, verdict: Assessment) -> None:
        assert self.color_model is not None
        self.pose, self._lost = fit.pose, 0
        if verdict.score > SURE:
            self.color_model = self.color_model.learnt(
                self.model, target, fit.pose, window, verdict
            )


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
        yield Tracked(frame, belief, seconds, tracker.scene(belief, light), hidden)
