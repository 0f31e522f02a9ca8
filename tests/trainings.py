"""What happens to trainings, for their tests."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from invgraph.train.checkpoint import Shown


@contextmanager
def stopped_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ctrl-C after so many steps of the training inside."""
    show = Shown.on_train_batch_end

    def stop(self: Shown, trainer, module, *rest) -> None:
        show(self, trainer, module, *rest)
        if module.done == steps:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Shown, "on_train_batch_end", stop)
        yield
