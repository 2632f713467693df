"""Builders of small data sets, one trained model for all who need one, and the command line as a user runs it."""

import contextlib
import functools
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from kws.audio import SAMPLE_RATE
from model import cli, console, corpus, files, provenance
from model.data.source import DataSet, open_dataset
from model.settings import DEFAULT_LABELS, Settings, make_settings
from tests.service import tones as service_tones
from tests.service.tones import encode

ROOT = Path(__file__).parents[2]
WORDS, OTHERS = ("low", "high"), ("cat", "dog", "egg", "fig")
LABELS = (*WORDS, "_unknown_", "_silence_")
TONES, OTHER_TONE = {"low": 500, "high": 1000, "_silence_": 3000}, 2000  # Hz, as `tests.service.tones` has them
USUAL = DEFAULT_LABELS
QUICK = ("--labels", "low,high", "--profile", "quick", "--epochs", "2", "--speech", "none")
REVISION = "of-the-test"


@pytest.fixture(scope="session", autouse=True)
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder, with a cache, that all workers have in common, new in each run. No setting of the user's reaches it."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("KWS_")]:
            patch.delenv(name)
        patch.setenv("KWS_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def main(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``main("train", KWS_SEED="3")``: ``KWS_SEED=3 python -m model train`` in this process, which has torch loaded."""
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    out, err = io.StringIO(), io.StringIO()
    provenance.revision.cache_clear()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(console.log, "handlers", [])  # what `main` sets up ends with it
        patch.setattr(console.log, "propagate", False)
        patch.setattr(sys, "argv", ["model", *map(str, arguments)])
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            with pytest.raises(SystemExit) as stop:
                cli.main()
        finally:
            for signum, handler in handlers.items():
                signal.signal(signum, handler)
    return subprocess.CompletedProcess(arguments, int(stop.value.code or 0), out.getvalue(), err.getvalue())


def done(result: subprocess.CompletedProcess[str]) -> str:
    """What a command that must succeed says."""
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def one_line(result: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """What a failed command says; it must be one line on stderr, and no traceback anywhere."""
    assert result.returncode == code, result.stdout + result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert "Traceback" not in result.stdout
    return lines[0]


def read(folder: Path, *names: str) -> Any:
    """The content of a JSON file, or of several."""
    found = [json.loads((folder / name).read_text()) for name in names]
    return found if len(found) > 1 else found[0]


def judge(model: Path, dataset: Path, output: Path, *options: str | Path) -> dict[str, Any]:
    """What ``evaluate`` writes of a model and a data set."""
    done(main("evaluate", model, "--dataset", dataset, "--output", output, "--speech", "none", *options))
    return read(output, "evaluation.json")


@pytest.fixture(scope="session")
def tones(shared: Path) -> Path:
    """The two keywords, four other words and noise: 40 clips a word, and of the last ten; speech and rooms beside."""
    with files.locked(shared / "tones.lock"):
        if not (shared / "tones").exists():
            write_files(shared / "speech", speech_files())
            write_files(shared / "rooms", {"kitchen.wav": encode(word("humming", 3.0))})
            write_files(shared / "tones", tone_files((*WORDS, *OTHERS[:3])) | tone_files(OTHERS[3:], speakers=10))
    return shared / "tones"


@pytest.fixture(scope="session")
def trained(tones: Path, shared: Path) -> Path:
    """The artefacts of a short run on ``tones``; made by the first worker that asks."""
    output = shared / "trained/model"
    with files.locked(shared / "trained.lock"):
        if not output.exists():
            options = (*QUICK, "--dataset", tones, "--output", output, "--epochs", "4", "--unknown-share", "0.25")
            running = ("--speech", shared / "speech", "--negatives", shared / "rooms")
            done(main("train", *options, *running, KWS_REVISION=REVISION))
    return output


def tone(frequency: float, seconds: float = 1.0, rate: int = SAMPLE_RATE, level: float = 0.3) -> Any:
    """A sine, ``float32[samples]``."""
    return (level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def word(label: str, seconds: float = 0.5, like_low: float = 0.0) -> Any:
    """The tone of a label, ``float32[samples]``, of which ``like_low`` is the tone of ``low``."""
    parts = ((TONES.get(label, OTHER_TONE), 1 - like_low), (TONES["low"], like_low))
    return np.sum([tone(frequency, seconds, level=0.3 * share) for frequency, share in parts], axis=0)


def tone_model(path: Path, labels: Sequence[str] = LABELS, **metadata: str | None) -> Path:
    """A model file that is sure of the tone of ``labels``, and of ``_silence_`` where it hears none."""
    said = {**service_tones.METADATA, "labels": json.dumps(labels), "threshold": "0.8", **metadata}
    proto, count = service_tones.tone_model({name: text for name, text in said.items() if text}), len(labels)
    graph = proto.graph
    graph.node[2].output[0] = "heard"
    graph.node.insert(3, onnx.helper.make_node("Add", ["heard", "floor"], ["energy"]))
    values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    values |= {"pair_sum": values["pair_sum"][:, :count], "floor": np.array([0, 0, 0, 1e4], np.float32)[:count]}
    del graph.initializer[:]
    graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in values.items())
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = count
    onnx.save(proto, str(path))
    return path


def tone_files(words: tuple[str, ...] = WORDS, speakers: int = 40) -> dict[str, bytes]:
    """A tiny data set: a word is a tone; the official rule spreads the speakers over the splits."""
    files = {}
    for index, name in enumerate(words):
        for speaker in range(speakers):
            samples = (0.5 + speaker / 80) * word(name, 0.2 + index / 100)
            files[f"{name}/{speaker:08x}_nohash_0.wav"] = encode(samples)
    files["dataset.json"] = b'{"licence": "CC0 1.0", "attribution": "nobody"}'
    files["_background_noise_/hiss.wav"] = encode(np.random.default_rng(0).normal(0, 0.05, 2 * SAMPLE_RATE))
    return files


@functools.cache
def recording(name: str, container: str = "WAV") -> bytes:
    """Noise that is another for each name."""
    rng = np.random.default_rng(zlib.crc32(name.encode(errors="surrogateescape")))
    return encode(rng.normal(0, 3000, 400).astype(np.int16), container=container)


def files_of(names: Iterable[str], **texts: str | bytes) -> dict[str, bytes]:
    """Recordings by these names, and text files: ``validation_list="up/a.wav"`` gives ``validation_list.txt``."""
    found = {name: recording(name) for name in names}
    for name, text in texts.items():
        suffix = ".json" if name == "dataset" else ".txt"
        found[name + suffix] = text if isinstance(text, bytes) else text.encode()
    return found


def numbered(words: Iterable[str], count: int, form: str = "{word}/{number:08x}_nohash_0.wav") -> list[str]:
    """The names of ``count`` recordings a word."""
    return [form.format(word=word, number=number) for word in words for number in range(count)]


def speech_files(readers: int = 24, text: str = "NOTHING ELSE", folder: str = "") -> dict[str, bytes]:
    """Running speech in LibriSpeech's layout: two seconds a reader of a tone that is no keyword's."""
    files = {}
    for reader in range(100, 100 + readers):
        where = f"{folder}{reader}/7/{reader}-7"
        files[f"{where}-0001.wav"] = encode(0.5 * word("speech", 2 + reader / 100))
        files[f"{where}.trans.txt"] = f"{reader}-7-0001 {text}\n".encode()
    return files


def write_files(root: Path, files: Mapping[str, bytes]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    """A member of a tar: a file, a link, a pipe, …"""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def tar(
    path: Path, files: Mapping[str, bytes], *extra: tarfile.TarInfo, mode: str = "w:gz", first: bool = False
) -> Path:
    """Files as a tar, with extra members at its end, or ``first``."""
    members = [(member(name, size=len(data)), io.BytesIO(data)) for name, data in files.items()]
    others = [(info, io.BytesIO()) for info in extra]
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for each in [*others, *members] if first else [*members, *others]:
            archive.addfile(*each)
    return path


def pack_zip(path: Path, files: Mapping[str, bytes], modes: Mapping[str, int] = {}) -> Path:
    """Files as a ZIP; their ``modes`` may make another kind of one, a link say."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, modes.get(name, 0) << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return path


def opened(path: Path | str, **settings: Any) -> DataSet:
    """The data set of a run with these settings."""
    return open_dataset(replace(Settings(), **{"dataset": str(path), **settings}))


def corpus_of(root: Path, **settings: Any) -> corpus.Corpus:
    """A data set as a run on ``low`` and ``high`` sees it."""
    given = {"profile": "quick", "labels": WORDS, "speed_copies": False, "speech": "none", "dataset": str(root)}
    chosen = make_settings({**given, **settings})
    return corpus.load(open_dataset(chosen), chosen)


def told(dataset: DataSet) -> str:
    return "\n".join(dataset.notes)
