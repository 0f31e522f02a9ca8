"""Photos without labels are explained now and then, and the encoder may learn from that."""

from collections.abc import Sequence
from typing import Any

import lightning
import torch

from invgraph.data import Frame
from invgraph.data.images import UnreadableImage
from invgraph.fitting.scene.find import find_scene
from invgraph.fitting.scene.memory import Memory, remember
from invgraph.fitting.scene.scene_model import SceneModel
from invgraph.runs.progress import Progress

EXPLAINED = (0.7, 0.8, 0.9)  # shares of the training at which the photos are explained anew
SURE = 0.5  # score of photos whose explanation is kept


class Explaining(lightning.Callback):
    """Explains photos with the averaged weights and hands what it found to the training.

    Several processes share the photos.

    Args:
        photos: whose lenses are known.
        progress: hears about it.
        rank: of this process.
        world: how many there are.
    """

    def __init__(
        self, photos: Sequence[Frame], progress: Progress, rank: int = 0, world: int = 1
    ) -> None:
        self._photos = photos[rank::world]
        self._progress = progress
        self._times = -1

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
        done = max(pl_module.spent(), pl_module.done / pl_module.settings.steps)
        due = sum(done >= share for share in EXPLAINED) - 1
        if due <= self._times:
            return
        self._times = due
        weights = pl_module.use(pl_module.averaged)
        pl_module.memories = self._explained(pl_module)
        pl_module.use(weights)

    def _explained(self, module: Any) -> list[Memory]:
        model = SceneModel.of(module.encoder, module.finder, module.known, {})
        generator = torch.Generator().manual_seed(module.settings.seed)
        memories = []
        for frame in self._photos:
            try:
                photo = frame.load()[0]
            except UnreadableImage:
                continue
            lens = frame.known_lens
            assert lens is not None
            found = find_scene(model, photo, lens)
            if found.score >= SURE:
                memory = remember(module.known.prior, found, photo, lens, generator)
                memories.append(memory)
        if memories:
            worth = sum(memory.effective for memory in memories) / len(memories)
            self._progress.note(
                f"found in {len(memories)} of {len(self._photos)} photos, "
                f"{worth:.1f} effective samples each"
            )
        return memories
