"""Small data sets, a trained model, and the command line as a user runs it."""

import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from model import cli as command_line
from model.data import synthetic
from model.settings import LABELS, SAMPLE_RATE

if TYPE_CHECKING:
    from model.network import TCResNet8

ROOT = Path(__file__).parents[2]
Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the tests' own; no setting of the user's reaches a test."""
    patch = pytest.MonkeyPatch()
    for name in [name for name in os.environ if name.startswith("KWS_") and name != "KWS_TEST_DATASET"]:
        patch.delenv(name)
    folder = tmp_path_factory.mktemp("cache")
    patch.setenv("KWS_CACHE", str(folder))
    yield folder
    patch.undo()


@pytest.fixture(scope="module")
def network() -> "TCResNet8":
    """Untrained, with normalisation statistics that folding has to get right."""
    import torch

    from model.network import TCResNet8

    torch.manual_seed(0)
    network = TCResNet8(3, width=1.0)
    network.train()
    for _ in range(3):
        network(torch.randn(16, 40, 101) * 2 + 1)
    return network.eval()


@pytest.fixture(scope="session")
def cli() -> Cli:
    """``cli("train", "--epochs", "1", KWS_SEED="3")`` runs ``python -m model`` to its end."""

    def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            env={**os.environ, **environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    """As ``cli``, but in this process, which has torch loaded already; without the environment."""
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["model", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            command_line.main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(sys.argv, int(stop.value.code or 0), said.out, said.err)

    yield run
    for signum, handler in handlers.items():
        signal.signal(signum, handler)


def command(*arguments: str | Path) -> list[str]:
    """The command line as a list."""
    return [sys.executable, "-m", "model", *map(str, arguments)]


def one_line(result: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """What a failed command says; it must be one line on stderr, and no traceback anywhere."""
    assert result.returncode == code, result.stdout + result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert "Traceback" not in result.stdout
    return lines[0]


@pytest.fixture(scope="session")
def spoken(cache: Path) -> Path:
    """40 synthetic clips a word, as a folder."""
    return synthetic.make(synthetic.Corpus(LABELS, 40)).root


@pytest.fixture(scope="session")
def trained(cli: Cli, spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefacts of a short run on ``spoken``."""
    output = tmp_path_factory.mktemp("trained") / "model"
    options = ("--profile", "quick", "--epochs", "4", "--stream-hours", "0.02")
    result = cli("train", "--dataset", spoken, "--output", output, *options, KWS_REVISION="of-the-test")
    assert result.returncode == 0, result.stderr
    return output


@pytest.fixture(scope="session")
def speech_commands() -> Path:
    """The shared subset of Speech Commands."""
    path = Path(os.environ.get("KWS_TEST_DATASET", ROOT.parent / "shared/data/speech_commands_subset.tar.gz"))
    if not path.exists():
        pytest.skip(f"real data: {path} is not there; set KWS_TEST_DATASET")
    return path


def tone(frequency: float, seconds: float = 1.0, rate: int = SAMPLE_RATE, level: float = 0.3) -> Any:
    """A sine, ``float32[samples]``."""
    return (level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def wav_bytes(samples: Any, rate: int = SAMPLE_RATE, kind: str = "WAV") -> bytes:
    """An audio file in memory."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype="PCM_16")
    return buffer.getvalue()


def tone_files(words: tuple[str, ...] = ("low", "high"), speakers: int = 40) -> dict[str, bytes]:
    """A tiny data set: a word is a tone; the official rule spreads the speakers over the splits."""
    files = {}
    for index, word in enumerate(words):
        for speaker in range(speakers):
            samples = tone(300 * (index + 1) + speaker, 0.2)
            files[f"{word}/{speaker:08x}_nohash_0.wav"] = wav_bytes(samples)
    files["dataset.json"] = b'{"licence": "CC0 1.0"}'
    files["_background_noise_/hiss.wav"] = wav_bytes(np.random.default_rng(0).normal(0, 0.05, 2 * SAMPLE_RATE))
    return files


def write_files(root: Path, files: dict[str, bytes]) -> Path:
    """Write a data set as a folder."""
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def tar_bytes(files: dict[str, bytes], *extra: tarfile.TarInfo, prefix: str = "./") -> bytes:
    """A .tar.gz of files, with extra members (links and the like) at the end."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for member in extra:
            tar.addfile(member)
    return buffer.getvalue()
