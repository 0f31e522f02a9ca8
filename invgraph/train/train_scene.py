"""``train_scene``: from a known object to an encoder that says where it is and in which light."""

from collections.abc import Sequence
from pathlib import Path

import lightning

from invgraph.data import Frame
from invgraph.data.intrinsics import KINDS
from invgraph.files.atomic import fingerprint
from invgraph.fitting.pose.known_object import load_object
from invgraph.fitting.pose.sequence import read_sequence
from invgraph.fitting.scene.object_prior import UPRIGHT, object_prior
from invgraph.fitting.scene.scene_model import SceneModel
from invgraph.scene.distributions import AnyRotation
from invgraph.train.loop import Logger, Plan, Trained, kept, learn, opened
from invgraph.train.previews import Dreamt
from invgraph.train.scene_module import SceneTraining
from invgraph.train.settings import SceneSettings
from invgraph.train.sleep import Sleep
from invgraph.train.waking import Explaining

_SCORED = 1024  # dreams that are held out


def train_scene(
    known: str | Path,
    out: str | Path,
    settings: SceneSettings,
    photos: Sequence[str | Path] = (),
    *,
    wake: bool = False,
    resume: bool = False,
    budget_s: float | None = None,
    logger: Logger = "tensorboard",
) -> Trained:
    """Learn to infer scenes with a known object, without labels, and even without photos.

    The object is dreamt in poses, lights and colours of its prior; the network learns to tell them
    from the dreams. In the last third of the training it also explains the photos, if there are
    any; where it wakes, it learns from these explanations, too.

    Several processes started by torchrun share the batch.

    Args:
        known: mesh file of the object.
        out: run folder; holds ``model.safetensors`` at the end.
        settings: of the training.
        photos: captures, folders or files that show the object; lenses have to be known. They may
            be added when a training is resumed. They are shown with what is believed of them.
        wake: learn from the photos.
        resume: go on with the training in ``out``.
        budget_s: seconds after which training ends, preparation included; None for no limit but
            the steps.
        logger: where curves go; Weights & Biases must be installed.

    Raises:
        ValueError: a mesh or photos that cannot be used; a folder that holds another training; a
            loss that is no number any more.
        KeyboardInterrupt: Ctrl-C; a checkpoint holds everything.
    """
    known = Path(known)
    out = Path(out)
    plan = Plan(out, resume, budget_s, logger, workers=0)
    photos = [Path(each) for each in photos]
    model = load_object(known, settings.object_scale)
    frames = [frame for path in photos for frame in _frames(path)]
    if wake and not frames:
        raise ValueError(
            "--wake learns from photos, but none are given; give some that show the object."
        )
    with opened(plan, "scene", (), settings, known=known) as (folder, progress):
        rotation = UPRIGHT if settings.upright else AnyRotation()
        item = object_prior(model, rotation)
        [thing] = item.prior.template.objects
        progress.note(f"{model.name}, {model.diameter:.3g} m, {len(thing.mesh.faces)} triangles")
        for note in model.notes:
            progress.note(note)
        module = SceneTraining(settings, item, wake)
        scored = Sleep.held_out(_SCORED)
        facts = {"object": fingerprint(known), "settings": kept(settings)}
        callbacks: list[lightning.Callback] = [Dreamt(folder)]
        if frames:
            progress.note(f"{len(frames)} photos to {'wake to' if wake else 'look at'}")
            callbacks.append(Explaining(frames, progress, plan.rank, plan.world))
        keeper = learn(
            plan,
            folder,
            module,
            Sleep(),
            (scored, settings.batch),
            facts,
            progress.part(),
            callbacks,
        )
        found = Trained(out / "model.safetensors", module.done, keeper.best, keeper.seconds)
        if folder is not None:
            told = {"steps": module.done, "woken_to": len(frames) if wake else 0}
            SceneModel.of(module.encoder, module.finder, item, told).save(found.model)
            found.note(folder)
    return found


def _frames(path: Path) -> tuple[Frame, ...]:
    """Photos whose lenses are known."""
    frames = read_sequence(path).frames
    for frame in frames:
        if frame.known_lens is None:
            raise ValueError(
                f"{frame.image_path}: the intrinsics of its camera are unknown; put them beside "
                f"the photos as cam.json: JSON with {KINDS}."
            )
    return frames
