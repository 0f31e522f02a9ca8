"""Dreams by number: every scene of a night is photographed as often as every other."""

import torch
from tracking_scenes import painted_cube

from invgraph.fitting.scene.object_prior import POSE, object_prior
from invgraph.train.nights import AGAIN, STEPS, Nights, Sleep

BATCH = 4


def nights(seed: int = 0) -> Nights:
    return Nights(object_prior(painted_cube()).prior, 16, BATCH, seed)


def numbers(step: int, slot: int = 0, count: int = BATCH) -> torch.Tensor:
    return torch.arange(step * BATCH + slot, step * BATCH + slot + count)


def test_all_scenes_of_a_night_are_photographed_equally_often():
    dreams = nights()
    steps = [dreams(numbers(step)) for step in range(STEPS)]
    poses = torch.cat([step.values[POSE] for step in steps]).flatten(1)
    different, often = torch.unique(poses, dim=0, return_counts=True)
    assert len(different) == BATCH * STEPS // AGAIN and bool((often == AGAIN).all())
    first = torch.cat([step.values[POSE] for step in steps[: STEPS // AGAIN]]).flatten(1)
    assert len(torch.unique(first, dim=0)) == len(first)
    tomorrow = dreams(numbers(STEPS)).values[POSE].flatten(1)
    assert not (tomorrow[:, None] == poses).all(-1).any()


def test_no_two_photographs_of_a_scene_are_alike():
    dreams = nights()
    steps = [dreams(numbers(step)) for step in range(STEPS)]
    poses = torch.cat([step.values[POSE] for step in steps]).flatten(1)
    images = torch.cat([step.images for step in steps])
    [same] = (poses == poses[0]).all(1).nonzero(as_tuple=True)[0].split(AGAIN)
    assert all((images[a] - images[b]).abs().mean() > 0.01 for a in same for b in same if a != b)


def test_dreams_depend_on_their_numbers_alone():
    dreams = nights()
    for step in (0, STEPS, 5, STEPS + 3):
        again = nights()(numbers(step))
        assert torch.equal(dreams(numbers(step)).images, again.images)
    assert not torch.equal(nights(1)(numbers(0)).images, nights(0)(numbers(0)).images)


def test_processes_dream_of_different_scenes():
    first, second = (nights()(numbers(0, slot, 2)).values[POSE] for slot in (0, 2))
    assert not (first.flatten(1)[:, None] == second.flatten(1)).all(-1).any()


def test_what_is_held_out_is_dreamt_once():
    held = Sleep.held_out(4 * STEPS)
    dreams, poses = nights(), []
    for first in range(0, 4 * STEPS, BATCH):
        batch = Sleep.collate([held[number] for number in range(first, first + BATCH)])
        poses.append(dreams(batch).values[POSE].flatten(1))
    assert len(torch.unique(torch.cat(poses), dim=0)) == 4 * STEPS
