"""``train_scene``: from a known object to an encoder that says where it is and in which light."""

from pathlib import Path

from invgraph.files.atomic import fingerprint
from invgraph.fitting.pose.known_object import load_object
from invgraph.fitting.scene.object_prior import UPRIGHT, object_prior
from invgraph.fitting.scene.scene_model import SceneModel
from invgraph.scene.distributions import AnyRotation
from invgraph.train.loop import Logger, Plan, Trained, kept, learn, opened
from invgraph.train.previews import Dreamt
from invgraph.train.scene_module import SceneTraining, Sleep
from invgraph.train.settings import SceneSettings

_SCORED = 1024  # dreams that are held out


def train_scene(
    known: Path,
    out: Path,
    settings: SceneSettings,
    *,
    resume: bool = False,
    budget_s: float | None = None,
    logger: Logger = "tensorboard",
) -> Trained:
    """Learn to infer scenes with a known object, without images and without labels.

    The object is dreamt in poses, lights and colours of its prior; the network learns to tell them
    from the dreams.

    Several processes started by torchrun share the batch.

    Args:
        known: mesh file of the object.
        out: run folder; holds ``model.safetensors`` at the end.
        settings: of the training.
        resume: go on with the training in ``out``.
        budget_s: seconds after which training ends; None for no limit but the steps.
        logger: where curves go; Weights & Biases must be installed.

    Raises:
        ValueError: a mesh that cannot be used; a folder that holds another training; a loss that is
            no number any more.
        KeyboardInterrupt: Ctrl-C; a checkpoint holds everything.
    """
    model = load_object(known, settings.object_scale)
    plan = Plan(out, resume, budget_s, logger, workers=0)
    with opened(plan, "scene", (), settings, known=known) as (folder, progress):
        rotation = UPRIGHT if settings.upright else AnyRotation()
        item = object_prior(model, rotation)
        [thing] = item.prior.template.objects
        progress.note(f"{model.name}, {model.diameter:.3g} m, {len(thing.mesh.faces)} triangles")
        module = SceneTraining(settings, item)
        scored = Sleep.held_out(_SCORED)
        facts = {"object": fingerprint(known), "settings": kept(settings)}
        dreamt = Dreamt(folder)
        keeper = learn(
            plan,
            folder,
            module,
            Sleep(),
            (scored, settings.batch),
            facts,
            progress.part(),
            [dreamt],
        )
        found = Trained(out / "model.safetensors", module.done, keeper.best, keeper.seconds)
        if folder is not None:
            SceneModel.of(module.encoder, module.finder, item, {"steps": module.done}).save(
                found.model
            )
            found.note(folder)
    return found
