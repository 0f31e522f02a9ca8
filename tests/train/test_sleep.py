"""Dreams by number: each recurs, before another background and by another camera."""

import torch
from tracking_scenes import painted_cube

from invgraph.fitting.scene.object_prior import POSE, object_prior, with_shadows
from invgraph.train.sleep import LATER, TIMES, Recurring, Sleep

BATCH = 4


def recurring(seed: int = 0) -> Recurring:
    return Recurring(with_shadows(object_prior(painted_cube()).prior), 16, BATCH, seed)


def numbers(step: int, slot: int = 0, count: int = BATCH) -> torch.Tensor:
    return torch.arange(step * BATCH + slot, step * BATCH + slot + count)


def same(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one.flatten(1)[:, None] == other.flatten(1)).all(-1)


def test_a_dream_recurs_in_other_photographs():
    dreams = recurring()
    now, *later = (dreams(numbers(3 + time * LATER)) for time in range(TIMES + 1))
    for time, then in enumerate(later, 1):
        again = same(now.values[POSE], then.values[POSE])
        # Of those seen now, some are new and some have been seen before: these will end earlier.
        assert int(again.sum()) == max(TIMES - time, 0) * BATCH // TIMES
        first, second = again.nonzero(as_tuple=True)
        for one, other in zip(first, second, strict=True):
            assert float((now.images[one] - then.images[other]).abs().mean()) > 0.01


def test_steps_in_between_dream_of_something_else():
    dreams = recurring()
    poses = torch.cat([dreams(numbers(step)).values[POSE] for step in range(20)])
    assert int(same(poses, poses).sum()) == len(poses)


def test_dreams_depend_on_their_numbers_alone():
    dreams = recurring()
    for step in (0, LATER, 5, LATER + 3, LATER):
        again = recurring()(numbers(step))
        assert torch.equal(dreams(numbers(step)).images, again.images)
    assert not torch.equal(recurring(1)(numbers(0)).images, recurring(0)(numbers(0)).images)


def test_processes_dream_of_different_scenes():
    first, second = (recurring()(numbers(0, slot, 2)).values[POSE] for slot in (0, 2))
    assert not (first.flatten(1)[:, None] == second.flatten(1)).all(-1).any()


def test_what_is_held_out_is_dreamt_once():
    count = 2 * BATCH * LATER
    held = Sleep.held_out(count)
    dreams, poses = recurring(), []
    for first in (*range(0, 4 * BATCH, BATCH), *range(BATCH * LATER, BATCH * (LATER + 4), BATCH)):
        batch = Sleep.collate([held[number] for number in range(first, first + BATCH)])
        poses.append(dreams(batch).values[POSE].flatten(1))
    assert len(torch.unique(torch.cat(poses), dim=0)) == 8 * BATCH
