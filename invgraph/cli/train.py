"""The command line of training: ``invgraph train depth`` and ``invgraph train encoder``."""

import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from invgraph.cli.console import busy, say
from invgraph.cli.options import option

if TYPE_CHECKING:
    from invgraph.data import Capture
    from invgraph.train.loop import Trained

Piece = Literal[
    "ssim",
    "minimum",
    "automask",
    "smooth",
    "consistency",
    "exposure",
    "moving",
    "teacher",
    "uncertainty",
    "unit",
]


def depth(
    recordings: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO")],
    /,
    out: Annotated[Path | None, option("RUN")] = None,
    recipe: Literal["multiview", "motion", "monodepth2"] = "multiview",
    network: Literal["resnet18", "light"] = "resnet18",
    steps: Annotated[int | None, option("INT")] = None,
    budget: Annotated[str | None, option("TIME")] = None,
    batch: Annotated[int | None, option("INT")] = None,
    accumulate: int = 1,
    rate: Annotated[float | None, option("FLOAT")] = None,
    stride: int = 1,
    size: tuple[int, int] = (192, 256),
    without: tuple[Piece, ...] = (),
    encoder: Annotated[Path | None, option("FILE")] = None,
    logger: Literal["tensorboard", "wandb", "none"] = "tensorboard",
    workers: int = 1,
    seed: int = 0,
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Learn depth from raw video: no labels, no known cameras, no pretrained weights.

    Each VIDEO is a video file or a folder of consecutive frames by one camera. What comes out is
    RUN/model.safetensors, which tells depth and its uncertainty from one image; RUN/panels shows
    how it came about, and `tensorboard --logdir RUN/curves` its curves.

    Recipes: multiview finds the camera's motion by odometry first and the depth of frames from one
    another, and teaches that to the network; motion learns a motion network beside the depth, for
    recordings in which odometry fails, and the focal length where it is unknown; monodepth2 is the
    published loss alone, to compare with.

    Typical uses:
        invgraph train depth walk.mp4
        invgraph train depth walk.mp4 kitchen_frames --out runs/indoor --budget 40m
        invgraph train depth drive.mp4 --recipe motion --size 192 320 --stride 2
        invgraph train depth walk.mp4 --without consistency ssim --out runs/ablated
        invgraph train depth walk.mp4 --encoder runs/encoder_walk/encoder.safetensors
        invgraph train depth walk.mp4 --resume
        torchrun --nproc-per-node 2 -m invgraph.cli train depth walk.mp4 --out runs/two

    Args:
        recordings: videos or folders of frames.
        out: run folder to write; runs/depth_NAME_OF_THE_FIRST when left out.
        recipe: where motion comes from and which pieces the loss has.
        network: resnet18, or light: 0.4 times its work, 0.24 times its weights.
        steps: at most; the recipe's when left out.
        budget: time to spend, such as 40m, preparation included; training ends there.
        batch: groups of three frames a step.
        accumulate: steps whose gradients are summed before the weights move.
        rate: of learning, at its highest.
        stride: frames between neighbours of a group, for recipes that learn the motion.
        size: height and width of the images, multiples of 32.
        without: pieces of the loss to switch off.
        encoder: what `invgraph train encoder` wrote, to start with; or a safetensors file with
            ResNet-18 weights under torchvision's or timm's names.
        logger: where curves go; wandb must be installed, and works offline with WANDB_MODE=offline.
        workers: processes that prepare images.
        seed: of weights and groups; the same seed gives the same training.
        resume: go on with the training in the run folder.
    """
    _begin(recordings)
    from invgraph.cli.budget import parse_budget
    from invgraph.train.settings import RECIPES

    seconds = None if budget is None else parse_budget(budget)
    settings = RECIPES[recipe]
    own = {
        "network": network,
        "height": size[0],
        "width": size[1],
        "accumulate": accumulate,
        "stride": stride,
        "seed": seed,
        "pieces": replace(settings.pieces, **dict.fromkeys(without, False)),
    }
    given = {"steps": steps, "batch": batch, "rate": rate}
    settings = replace(settings, **own, **{k: v for k, v in given.items() if v is not None})
    folder, found = _given(recordings, out, "depth", resume)
    from invgraph.train.train_depth import train_depth

    trained = train_depth(
        found,
        folder,
        settings,
        resume=resume,
        budget_s=seconds,
        encoder=encoder,
        logger=logger,
        workers=workers,
    )
    _say(trained)


def encoder(
    recordings: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO")],
    /,
    out: Annotated[Path | None, option("RUN")] = None,
    network: Literal["resnet18", "light"] = "resnet18",
    steps: Annotated[int | None, option("INT")] = None,
    budget: Annotated[str | None, option("TIME")] = None,
    batch: Annotated[int | None, option("INT")] = None,
    rate: Annotated[float | None, option("FLOAT")] = None,
    size: tuple[int, int] = (192, 256),
    logger: Literal["tensorboard", "wandb", "none"] = "tensorboard",
    workers: int = 1,
    seed: int = 0,
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Learn an encoder from raw video, for `invgraph train depth --encoder` to start with.

    The network learns that frames shortly after one another belong together and others do not, in
    crops and colours that change (SimCLR). No labels, and no weights whose licence binds: it takes
    the place of ImageNet's. What comes out is RUN/encoder.safetensors.

    Typical uses:
        invgraph train encoder walk.mp4
        invgraph train encoder walk.mp4 kitchen_frames --out runs/indoor --budget 40m
        invgraph train encoder walk.mp4 --network light --size 96 128
        invgraph train encoder walk.mp4 --resume
        torchrun --nproc-per-node 2 -m invgraph.cli train encoder walk.mp4 --out runs/two

    Args:
        recordings: videos or folders of frames.
        out: run folder to write; runs/encoder_NAME_OF_THE_FIRST when left out.
        network: resnet18, or light: 0.4 times its work, 0.24 times its weights.
        steps: at most.
        budget: time to spend, such as 40m, preparation included; training ends there.
        batch: pairs of views a step: the more, the more each is told apart from.
        rate: of learning, at its highest.
        size: height and width of the images, multiples of 32.
        logger: where curves go; wandb must be installed, and works offline with WANDB_MODE=offline.
        workers: processes that prepare images.
        seed: of weights and pairs; the same seed gives the same training.
        resume: go on with the training in the run folder.
    """
    _begin(recordings)
    from invgraph.cli.budget import parse_budget
    from invgraph.train.settings import ContrastSettings

    seconds = None if budget is None else parse_budget(budget)
    given = {"steps": steps, "batch": batch, "rate": rate}
    settings = ContrastSettings(
        network=network,
        height=size[0],
        width=size[1],
        seed=seed,
        **{k: v for k, v in given.items() if v is not None},
    )
    folder, found = _given(recordings, out, "encoder", resume)
    from invgraph.train.contrastive import train_encoder

    trained = train_encoder(
        found,
        folder,
        settings,
        resume=resume,
        budget_s=seconds,
        logger=logger,
        workers=workers,
    )
    _say(trained)


def scene(
    photos: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PHOTOS")] = (),
    /,
    *,
    object: Annotated[Path, tyro.conf.arg(metavar="MESH")],
    out: Annotated[Path | None, option("RUN")] = None,
    object_scale: Annotated[float | None, option("METRES")] = None,
    any_way_up: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    wake: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    network: Literal["light", "resnet18"] = "light",
    hypotheses: Annotated[int | None, option("INT")] = None,
    steps: Annotated[int | None, option("INT")] = None,
    budget: Annotated[str | None, option("TIME")] = None,
    batch: Annotated[int | None, option("INT")] = None,
    rate: Annotated[float | None, option("FLOAT")] = None,
    logger: Literal["tensorboard", "wandb", "none"] = "tensorboard",
    seed: int = 0,
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Learn to see a known object: where it is, in which light, and how sure that is. No labels.

    The object is rendered in poses, lights and colours drawn at random, before anything and behind
    something; the network learns to tell the causes from the image, and how sure it can be. Photos
    of it are not needed; where there are some, the pictures of the run show them beside what is
    seen in them. What comes out is RUN/model.safetensors, for `invgraph infer scene`.

    Typical uses:
        invgraph train scene --object mug.obj --budget 40m
        invgraph train scene --object mug.obj --object-scale 0.001 --out runs/mug
        invgraph train scene --object mug.obj photos_of_it --budget 40m
        invgraph train scene --object mug.obj photos_of_it --wake
        invgraph train scene --object die.glb --any-way-up
        invgraph train scene --object mug.obj --resume

    Args:
        photos: captures, folders of photos or photos that show the object, without labels; with
            cam.json beside them or another source of the lens.
        object: mesh file, y up, with colours from its texture, material or vertices.
        out: run folder to write; runs/scene_NAME_OF_THE_MESH when left out.
        object_scale: metres per unit of the mesh file, such as 0.001 for millimetres.
        any_way_up: the object may lie any way; else it stands and is seen from above.
        wake: learn from the photos, too, in the last third of the training: from explanations that
            re-synthesise them. On path-traced photos it did not help: see the docs.
        network: light, or resnet18: 2.5 times its work.
        hypotheses: about the rotation of the object.
        steps: at most.
        budget: time to spend, such as 40m, preparation included; training ends there.
        batch: dreams a step.
        rate: of learning, at its highest.
        logger: where curves go; wandb must be installed, and works offline with WANDB_MODE=offline.
        seed: of weights and dreams; the same seed gives the same training.
        resume: go on with the training in the run folder.
    """
    _check_packages()
    say(f"reading {object}")
    from invgraph.cli.budget import parse_budget
    from invgraph.runs.folder import check_out
    from invgraph.train.settings import SceneSettings
    from invgraph.train.train_scene import train_scene

    seconds = None if budget is None else parse_budget(budget)
    given = {"hypotheses": hypotheses, "steps": steps, "batch": batch, "rate": rate}
    settings = SceneSettings(
        network=network,
        upright=not any_way_up,
        object_scale=object_scale,
        seed=seed,
        **{k: v for k, v in given.items() if v is not None},
    )
    folder = out if out is not None else Path("runs") / f"scene_{object.stem}"
    if int(os.environ.get("RANK", 0)) == 0:
        check_out(folder, resume)
    _say(
        train_scene(
            object,
            folder,
            settings,
            photos,
            wake=wake,
            resume=resume,
            budget_s=seconds,
            logger=logger,
        )
    )


def _check_packages() -> None:
    if find_spec("lightning") is None:
        raise ValueError("training needs more packages; pip install 'invgraph[train]'.")


def _begin(recordings: tuple[Path, ...]) -> None:
    _check_packages()
    if not recordings:
        raise ValueError("expected at least one video or folder of frames; see --help.")
    say(f"reading {', '.join(str(path) for path in recordings)}")


def _given(
    recordings: tuple[Path, ...], out: Path | None, kind: str, resume: bool
) -> "tuple[Path, list[Capture]]":
    """The run folder, and what is to be learned from."""
    from invgraph.data.recordings import read_recording
    from invgraph.runs.folder import check_out

    folder = out if out is not None else Path("runs") / f"{kind}_{recordings[0].resolve().stem}"
    if int(os.environ.get("RANK", 0)) == 0:
        check_out(folder, resume)  # before a video is decoded
    with busy("decoding frames that are not in the cache yet"):
        return folder, [read_recording(path) for path in recordings]


def _say(trained: "Trained") -> None:
    if int(os.environ.get("RANK", 0)) > 0:
        return
    print(f"{'Steps':24} {trained.steps}")
    print(f"{'Held-out loss':24} {trained.held_out:.4f}")
    print(f"{'Model':24} {trained.model}")


COMMANDS = {"depth": depth, "encoder": encoder, "scene": scene}
