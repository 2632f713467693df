"""Features on disk: computed once, for exactly what the files hold, and never half."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model import audio, dataset, features, store
from model.data.digest import digest_of
from model.data.layout import scan
from model.settings import make_settings

from .conftest import ROOT, tone, tone_files, wav_bytes, write_files

SETTINGS = make_settings("quick", labels=("low", "high"), threads=2)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the clips that were decoded; clear it between runs."""
    sizes: list[int] = []
    whole = audio.read_clip

    def count(data: bytes) -> tuple[audio.Pcm | None, audio.Found]:
        sizes.append(len(data))
        return whole(data)

    monkeypatch.setattr(audio, "read_clip", count)
    return sizes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_files(tmp_path / "tones", tone_files(speakers=60))


def _load(root: Path) -> dataset.Corpus:
    return dataset.load(scan(root, SETTINGS.labels), SETTINGS)


def _power(corpus: dataset.Corpus) -> torch.Tensor:
    split = corpus.splits["training"]
    return torch.stack([split.power(torch.arange(len(split)), copy) for copy in range(split.copies)])


def test_a_second_run_decodes_no_clip_and_reads_none(
    root: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _load(root)
    assert len(decoded) == 120
    decoded.clear()
    whole = Path.read_bytes

    def read(path: Path) -> bytes:
        assert "_background_noise_" in str(path), f"{path} was read again"
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    second = _load(root)
    assert decoded == []
    assert second.digest == first.digest
    assert torch.equal(_power(second), _power(first))
    assert second.splits["training"].audit == first.splits["training"].audit


def test_memory_given_back_is_read_again(root: Path) -> None:
    corpus = _load(root)
    before = _power(corpus)
    corpus.splits["training"].stored.release()
    assert torch.equal(_power(corpus), before)


def test_stored_features_are_the_features(root: Path) -> None:
    corpus = _load(root)
    waveforms = torch.from_numpy(corpus.waveforms("training"))
    expected = [waveforms, *(features.change_speed(waveforms, *speed) for speed in store.SPEEDS)]
    for power, version in zip(_power(corpus), expected, strict=True):
        torch.testing.assert_close(
            features.log_mel(power), features.log_mel(features.mel_power(version)), atol=5e-3, rtol=0
        )


@pytest.mark.parametrize("level", [1.0, 1e-3, 1e-5])
def test_half_precision_holds_loud_and_faint_clips(tmp_path: Path, level: float) -> None:
    noise = torch.randn(16_000, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    loud = torch.where(noise > 0, 1.0, -1.0)  # nothing is louder than a square wave at full scale
    for waveform in (noise, loud):
        power = store._power((level * waveform)[None], 1)
        assert power.isfinite().all()
        restored = power[:, 0].float().square()
        expected = features.mel_power((level * waveform)[None])
        torch.testing.assert_close(restored, expected, rtol=2e-3, atol=1e-12)


def test_the_same_content_elsewhere_is_known(root: Path, tmp_path: Path, decoded: list[int]) -> None:
    first = _load(root)
    decoded.clear()
    moved = root.rename(tmp_path / "moved")
    assert _load(moved).digest == first.digest
    assert decoded == []


def test_a_changed_clip_is_noticed_though_its_size_and_time_are_the_same(root: Path) -> None:
    first = _load(root)
    clip = first.splits["training"].clips[0]
    before = (root / clip.name).stat()
    (root / clip.name).write_bytes(wav_bytes(tone(2_000, 0.2)))
    os.utime(root / clip.name, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (root / clip.name).stat().st_size == before.st_size
    second = _load(root)
    assert second.digest != first.digest
    row = torch.tensor([0])
    assert not torch.allclose(second.splits["training"].power(row), first.splits["training"].power(row))


def test_the_digest_knows_content_split_and_name_only(tmp_path: Path) -> None:
    def digest(folder: str, name: str = "up/a.wav", frequency: float = 440, split: str = "training") -> str:
        write_files(tmp_path / folder, {name: wav_bytes(tone(frequency))})
        return digest_of(tmp_path / folder, [name], split, 1)

    one = digest("one")
    assert one == digest("other")
    assert one != digest("changed", frequency=441)
    assert one != digest("renamed", name="up/b.wav")
    assert one != digest("moved", split="testing")


@pytest.mark.parametrize("damage", ["short", "no notes", "notes cut", "notes of fewer files"])
def test_a_damaged_entry_is_not_used(root: Path, own_cache: Path, decoded: list[int], damage: str) -> None:
    expected = _power(_load(root))
    decoded.clear()
    for notes in (own_cache / "features").glob(f"*/{store.FILES}"):
        if damage == "short":
            power = notes.with_name(store.POWER)
            power.write_bytes(power.read_bytes()[:-2])
        elif damage == "no notes":
            notes.unlink()
        elif damage == "notes cut":
            notes.write_text(notes.read_text()[:-10])
        else:
            notes.write_text(json.dumps({"found": json.loads(notes.read_text())["found"][1:]}))
    for known in (own_cache / "digests").iterdir():
        known.write_text("{")
    again = _load(root)
    assert len(decoded) >= 100
    assert torch.equal(_power(again), expected)


def test_a_run_killed_while_it_computes_leaves_nothing_to_be_used(
    root: Path, own_cache: Path, decoded: list[int]
) -> None:
    script = (
        "import sys, time; from pathlib import Path; from model import audio, dataset\n"
        "from model.data.layout import scan; from model.settings import make_settings\n"
        "whole, seen = audio.read_clip, []\n"
        "def slow(data):\n"
        "    seen.append(1)\n"
        "    if len(seen) == 20: print('reading', flush=True)\n"
        "    if len(seen) >= 20: time.sleep(60)\n"
        "    return whole(data)\n"
        "audio.read_clip = slow\n"
        "settings = make_settings('quick', labels=('low', 'high'))\n"
        "dataset.load(scan(Path(sys.argv[1]), settings.labels), settings)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, root], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "reading\n"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert list((own_cache / "features").glob(".*.tmp"))
    assert not list((own_cache / "features").glob(f"[0-9a-f]*/{store.FILES}"))
    _load(root)
    assert len(decoded) == 120
    assert not list((own_cache / "features").glob(".*.tmp"))


def test_two_runs_at_once_compute_once(root: Path, own_cache: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from model import dataset; from model.data.layout import scan\n"
        "from model.settings import make_settings\n"
        "settings = make_settings('quick', labels=('low', 'high'))\n"
        "print(dataset.load(scan(Path(sys.argv[1]), settings.labels), settings).digest)\n"
    )
    command = [sys.executable, "-c", script, str(root)]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate(timeout=120)[0] for process in processes}
    assert said == {_load(root).digest + "\n"}
    assert len(list((own_cache / "features").glob(f"*/{store.FILES}"))) == 3


def test_without_copies_at_other_speeds_the_clips_are_the_same(root: Path) -> None:
    without = dataset.load(scan(root, SETTINGS.labels), dataclasses.replace(SETTINGS, speed_copies=False))
    assert without.splits["training"].copies == 1
    assert torch.equal(_power(without)[0], _power(_load(root))[0])
