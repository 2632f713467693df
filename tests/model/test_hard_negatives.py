"""Crops of running speech: any of them at first, those that sound like a keyword more often later."""

import pytest
import torch

from model.features import FRAMES, N_MELS, Running
from model.hard_negatives import Crops


def running(*frames: int) -> Running:
    """Recordings one after another, whose frames hold the recording's number, from 1."""
    power = torch.cat([torch.full((count, N_MELS), number + 1.0) for number, count in enumerate(frames)])
    return Running(power.half(), torch.tensor(frames)[:, None], ("",) * len(frames))


@pytest.fixture
def drawn() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_crop_lies_within_one_recording(drawn: torch.Generator) -> None:
    crops = Crops(running(FRAMES + 5, FRAMES - 1, 200))
    crops.begin(1)
    starts = crops.draw(torch.ones(3000, dtype=torch.bool), drawn)
    assert len(starts.unique()) == 6 + 200 - FRAMES + 1  # every place, and the short recording never
    found = crops.read(starts)
    assert found.shape == (3000, N_MELS, FRAMES)
    assert (found == found[:, :1, :1]).all()
    assert set(found[:, 0, 0].tolist()) == {1.0, 9.0}


def test_hard_crops_are_near_where_the_model_was_surest(drawn: torch.Generator) -> None:
    crops = Crops(running(4000))
    crops.begin(1)
    every = torch.arange(4000 - FRAMES + 1)
    for _ in range(2):
        crops.tell(every, ((every - 1000).abs() < 70).float())
    crops.begin(9)
    hard = torch.arange(2000) % 2 == 0
    starts = crops.draw(hard, drawn)
    assert ((starts[hard] - 1000).abs() < 80).all()
    assert ((starts[~hard] - 1000).abs() > 80).float().mean() > 0.9
    assert (crops.draw(torch.ones(500, dtype=torch.bool), drawn) < len(every)).all()


def test_a_score_is_renewed_by_half(drawn: torch.Generator) -> None:
    crops = Crops(running(100))
    crops.tell(torch.tensor([8]), torch.tensor([0.8]))
    crops.tell(torch.tensor([9]), torch.tensor([0.2]))
    assert crops.score[2].item() == pytest.approx(0.5)
    assert crops.where[2].item() == 9


def test_negatives_of_the_users_come_after_a_third_of_the_epochs(drawn: torch.Generator) -> None:
    crops = Crops(running(100, 100), late=1, without=3)
    any_ = torch.zeros(500, dtype=torch.bool)
    heard = []
    for epoch in (3, 4):
        crops.begin(epoch)
        heard.append(set(crops.read(crops.draw(any_, drawn))[:, 0, 0].tolist()))
    assert heard == [{1.0}, {1.0, 4.0}]
    alone = Crops(running(100), late=1, without=3)  # there is nothing else: from the first epoch on
    alone.begin(1)
    assert alone.without == 0
    assert len(alone.draw(any_, drawn)) == 500


def test_without_speech_nothing_is_drawn(drawn: torch.Generator) -> None:
    crops = Crops(Running.none())
    crops.begin(1)
    assert crops.draw(torch.zeros(3, dtype=torch.bool), drawn).tolist() == [0, 0, 0]
