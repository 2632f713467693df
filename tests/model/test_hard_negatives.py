"""Crops of running speech: any of them at first, those that sound like a keyword more often later."""

import torch

from model.features import FRAMES, N_MELS, Running
from model.hard_negatives import Crops


def crops_of(*frames: int, late: int = 0, without: int = 0) -> Crops:
    """Of recordings one after another, whose frames hold the recording's number, from 1."""
    power = torch.cat([torch.full((count, N_MELS), number + 1.0) for number, count in enumerate(frames)])
    return Crops(Running(power.half(), torch.tensor(frames)[:, None], ("",) * len(frames)), late, without)


def draw(crops: Crops, epoch: int, hard: torch.Tensor) -> torch.Tensor:
    crops.begin(epoch)
    return crops.draw(hard, torch.Generator().manual_seed(epoch))


ALL, NONE = torch.ones(3000) > 0, torch.zeros(500) > 0


def test_a_crop_lies_within_one_recording() -> None:
    crops = crops_of(FRAMES + 5, FRAMES - 1, 200)
    starts = draw(crops, 1, ALL)
    assert len(starts.unique()) == 6 + 200 - FRAMES + 1  # every place, and the short recording never
    found = crops.read(starts)
    assert found.shape == (3000, N_MELS, FRAMES)
    assert (found == found[:, :1, :1]).all()
    assert set(found[:, 0, 0].tolist()) == {1.0, 9.0}


def test_hard_crops_are_near_where_the_model_was_surest() -> None:
    crops = crops_of(4000)
    every = torch.arange(4000 - FRAMES + 1)
    for _ in range(2):
        crops.tell(every, ((every - 1000).abs() < 70).float())
    hard = torch.arange(2000) % 2 == 0
    starts = draw(crops, 9, hard)
    assert ((starts[hard] - 1000).abs() < 80).all()
    assert ((starts[~hard] - 1000).abs() > 80).float().mean() > 0.9
    assert (draw(crops, 9, ALL) < len(every)).all()
    crops.score[2] = -1  # not heard yet
    for start, probability in ((8, 0.8), (9, 0.2)):  # a score is renewed by half
        crops.tell(torch.tensor([start]), torch.tensor([probability]))
    assert (round(crops.score[2].item(), 3), crops.where[2].item()) == (0.5, 9)


def test_negatives_of_the_users_come_after_a_third_of_the_epochs() -> None:
    crops = crops_of(100, 100, late=1, without=3)
    heard = [set(crops.read(draw(crops, epoch, NONE))[:, 0, 0].tolist()) for epoch in (3, 4)]
    assert heard == [{1.0}, {1.0, 4.0}]
    alone = crops_of(100, late=1, without=3)  # there is nothing else: from the first epoch on
    assert (alone.without, len(draw(alone, 1, NONE))) == (0, 500)
    assert not draw(Crops(Running.none()), 1, NONE).any()  # without speech nothing is drawn
