"""The training loop, on tones: the same weights each time, the best ones kept, and going on after a stop."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from model import train
from model.corpus import Corpus
from model.errors import UserError
from model.network import TCResNet8
from model.settings import make_settings

from .conftest import corpus_of

RUN = {"profile": "quick", "labels": ("low", "high"), "epochs": 3, "batch_size": 32, "mixup": 0.2}
SETTINGS = make_settings(RUN)


@pytest.fixture(scope="module")
def tone_corpus(tones: Path, shared: Path) -> Corpus:
    running = {"speech": str(shared / "speech"), "negatives": str(shared / "rooms")}
    return corpus_of(tones, speed_copies=True, **running)


@pytest.fixture(scope="module")
def whole(tone_corpus: Corpus) -> train.Trained:
    return train.train(SETTINGS, tone_corpus)


def _same_weights(one: torch.nn.Module | None, other: torch.nn.Module | None) -> bool:
    assert one
    assert other
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_same_seed_same_weights_bit_for_bit(tone_corpus: Corpus, whole: train.Trained) -> None:
    again = train.train(make_settings({**RUN, "threads": 3}), tone_corpus)
    assert (again.history, _same_weights(again.network, whole.network)) == (whole.history, True)
    assert not _same_weights(train.train(make_settings({**RUN, "seed": 1}), tone_corpus).network, whole.network)


def test_two_halves_of_a_batch_are_summed_and_their_statistics_averaged() -> None:
    network = TCResNet8(3, width=1.0)
    with train.side_by_side(network) as (twins, _):
        for number, twin in enumerate(twins):
            for weight in twin.parameters():
                weight.grad = torch.full_like(weight, number + 1.0)
            for each in filter(torch.is_floating_point, twin.buffers()):
                each.fill_(number)
        train.gather(twins)
    assert {float(each.grad.mean()) for each in network.parameters() if each.grad is not None} == {3.0}
    assert all((each == 0.5).all() for twin in twins for each in filter(torch.is_floating_point, twin.buffers()))


def test_the_best_epoch_s_weights_are_kept(tone_corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    losses, weights = iter([0.5, 0.2, 0.3]), []

    def score(network: torch.nn.Module, *_: object) -> tuple[float, float]:
        weights.append(network.state_dict()["classifier.bias"].clone())
        return next(losses), 1.0

    monkeypatch.setattr(train, "score", score)
    trained = train.train(SETTINGS, tone_corpus)
    assert (trained.best.epoch, trained.best.val_loss) == (2, 0.2)
    assert [torch.equal(trained.network.classifier.bias, each) for each in weights] == [False, True, False]
    assert trained.before
    assert torch.equal(trained.before.classifier.bias, weights[0])  # the user's negatives came in the second epoch


def test_a_loss_that_runs_away_is_said(tone_corpus: Corpus) -> None:
    split = tone_corpus.splits["training"]
    endless = dataclasses.replace(split.stored, power=torch.full_like(split.stored.power, math.inf))
    splits = {**tone_corpus.splits, "training": dataclasses.replace(split, stored=endless)}
    with pytest.raises(UserError, match=r"training diverged in epoch 1 .*; lower --learning-rate"):
        train.train(SETTINGS, dataclasses.replace(tone_corpus, splits=splits))


def test_a_run_stopped_twice_ends_as_one_in_one_go(
    tone_corpus: Corpus, whole: train.Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_state = train.save_state

    def go(stop: int, resume: bool = True) -> train.Trained | list[int]:
        """The run, or the epochs that it goes through until it is stopped, before the last one's state is kept."""
        seen: list[int] = []

        def save(path: Path, identity: dict[str, Any], state: dict[str, Any]) -> None:
            seen.append(len(state["history"]))
            if seen[-1] == stop:
                raise InterruptedError
            save_state(path, identity, state)

        monkeypatch.setattr(train, "save_state", save)
        try:
            return train.train(SETTINGS, tone_corpus, tmp_path, resume)
        except InterruptedError:
            return seen

    assert (go(2), go(3)) == ([1, 2], [2, 3])
    resumed = go(0)
    assert isinstance(resumed, train.Trained)
    assert resumed.history == whole.history
    assert _same_weights(resumed.network, whole.network)
    assert _same_weights(resumed.before, whole.before)
    assert go(1, resume=False) == [1]  # without --resume it begins anew


OTHERS: list[tuple[dict[str, Any], dict[str, Any], str]] = [  # other settings, another corpus, what is said
    ({"seed": 5}, {}, "--seed 0 there, 5 here"),
    ({"speed_copies": False}, {}, "--speed-copies True there, False here"),
    ({}, {"digest": "e"}, "data digest "),
    ({}, {"labels": ("low",)}, "labels ['low', 'high', '_unknown_', '_silence_'] there, ['low'] here"),
    ({"threads": 3, "false_accepts_per_hour": 2.0, "licence": "CC0", "profile": "best", "dataset": "other"}, {}, ""),
]


@pytest.mark.parametrize(("settings", "data", "message"), OTHERS)
@pytest.mark.parametrize("package", ["", "torch", "torchaudio", "numpy", "soundfile", "soxr"])
def test_a_state_is_taken_where_the_weights_do_not_depend_on_what_changed(
    tone_corpus: Corpus, tmp_path: Path, monkeypatch: Any, settings: Any, data: Any, message: str, package: str
) -> None:
    path = tmp_path / "state.pt"
    train.save_state(path, train.identity_of(SETTINGS, tone_corpus, train.CPU), {"kept": True})
    here = {**train.versions(), package or "onnxruntime": "0"}
    monkeypatch.setattr(train, "versions", lambda: here)
    changed = dataclasses.replace(SETTINGS, **settings), dataclasses.replace(tone_corpus, **data)
    identity = train.identity_of(*changed, train.CPU)
    if not message and not package:
        assert train.load_state(path, identity) == {"kept": True}
        return
    with pytest.raises(UserError, match="is of a different run") as caught:
        train.load_state(path, identity)
    assert message in str(caught.value)
    assert f"{package} " in str(caught.value)


def test_a_state_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for content in (b"", b"PK\x03\x04 half", b"cos\nmkdir\n(Vevil\ntR."):  # data, not code
        Path("state.pt").write_bytes(content)
        with pytest.raises(UserError, match=r"state.pt' cannot be read \([^.]{3,80}\); remove it to start anew"):
            train.load_state(Path("state.pt"), {})
    assert not Path("evil").exists()
