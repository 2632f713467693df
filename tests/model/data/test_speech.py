"""Running speech: what is named, which recordings hold a keyword, who is held back."""

import shutil
from pathlib import Path

import pytest

from model.data import download, speech
from model.data.espeak import pronounced
from model.data.speech import open_speech
from model.errors import UserError
from model.settings import Settings

from ..conftest import tar, tone, wav_bytes

WAV = wav_bytes(tone(300, 0.1))


def librispeech(readers: int, text: str = "THE BIRD SINGS", folder: str = "") -> dict[str, bytes]:
    """A chapter of one recording for each of some readers, in LibriSpeech's layout."""
    found: dict[str, bytes] = {}
    for reader in range(100, 100 + readers):
        where = f"{folder}{reader}/7/{reader}-7"
        found |= {f"{where}-0001.wav": WAV, f"{where}.trans.txt": f"{reader}-7-0001 {text}\n".encode()}
    return found


def write(root: Path, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return str(root)


def settings(source: str, evaluation: str = "none", **more: str) -> Settings:
    return Settings("some", speech=source, speech_evaluation=evaluation, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "apart"),
    [("UP THE HILL", True), ("I KNOW THAT", True), ("the snow", False), ("no", True), ("upward", False), ("", False)],
)
def test_a_keyword_and_what_sounds_like_one_are_apart(tmp_path: Path, text: str, apart: bool) -> None:
    found = open_speech(settings(write(tmp_path, librispeech(12, text))), ("up", "no"))
    assert any(found.holding.values()) == apart
    assert any(found.without.values()) != apart
    assert any("a keyword or a word that sounds like one" in note for note in found.notes) == apart


def test_espeak_tells_what_sounds_alike() -> None:
    said = pronounced(["know", "no", "now", "write", "right", "Right"])
    assert said["know"] == said["no"] != said["now"]
    assert said["write"] == said["right"] == said["Right"]


def test_readers_are_held_back_whole_and_others_judge(tmp_path: Path) -> None:
    source = write(tmp_path / "a", {**librispeech(60), **librispeech(60, folder="more/")})
    found = open_speech(settings(source), ("up",))
    readers = {split: {one.reader for one in recordings} for split, recordings in found.without.items()}
    assert all(4 <= len(readers[split]) <= 20 for split in ("validation", "testing"))
    assert sum(map(len, readers.values())) == len(set.union(*readers.values())) == 60
    assert found.evaluation == "none"
    judged = open_speech(settings(source, write(tmp_path / "b", librispeech(3))), ("up",))
    assert [one.path.name for one in judged.without["testing"]] == [f"{name}-7-0001.wav" for name in (100, 101, 102)]
    assert len(judged.without["training"]) + len(judged.without["validation"]) == 120
    assert judged.digest() != found.digest()
    moved = shutil.copytree(tmp_path / "a", tmp_path / "elsewhere")  # another cache, a container
    assert open_speech(settings(str(moved)), ("up",)).digest() == found.digest()


def test_few_readers_and_no_transcripts_are_told(tmp_path: Path) -> None:
    found = open_speech(settings(write(tmp_path, {f"radio/{n}.wav": WAV for n in range(30)})), ("up",))
    assert [note.split(":")[0] for note in found.notes] == [
        "The speech has few readers",
        "30 recordings of speech have no transcript",
    ]
    assert all(found.without.values())
    alone = open_speech(settings(write(tmp_path / "one", {"a.wav": WAV})), ("up",))
    assert any("too few recordings for" in note and "cut long ones" in note for note in alone.notes)


def test_an_archive_and_the_users_own_negatives(tmp_path: Path) -> None:
    tar(tmp_path / "speech.tar.gz", librispeech(12))
    rooms = write(tmp_path / "rooms", {"kitchen/one.wav": WAV, "kitchen/.DS_Store": b"", "notes.txt": b""})
    found = open_speech(settings(str(tmp_path / "speech.tar.gz"), negatives=rooms), ("up",))
    assert found.source == "speech.tar.gz"
    assert [one.path.name for one in found.negatives] == ["one.wav"]


def test_librispeech_is_fetched_where_the_setting_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar(tmp_path / "part.tar.gz", librispeech(12, folder="LibriSpeech/dev-clean/"))
    asked: list[tuple[str, int]] = []

    def fetched(url: str, sha256: str, *_: object) -> Path:
        asked.append((url, len(sha256)))
        return tmp_path / "part.tar.gz"

    monkeypatch.setattr(download, "official", fetched)
    found = open_speech(settings("librispeech", "librispeech", speech_url="http://127.0.0.1/x/"), ("up",))
    assert [url for url, _ in asked] == ["http://127.0.0.1/x/dev-clean.tar.gz", "http://127.0.0.1/x/test-other.tar.gz"]
    assert {size for _, size in asked} == {64}
    assert (found.source, found.evaluation) == ("LibriSpeech dev-clean", "LibriSpeech test-other")


@pytest.mark.parametrize(("asked", "fails"), [({}, False), ({"speech": "librispeech"}, True)])
def test_without_a_network_the_default_is_missing_and_what_was_asked_for_fails(
    asked: dict[str, str], fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> Path:
        raise UserError("cannot download it")

    monkeypatch.setattr(download, "official", refused)
    chosen = Settings("speech-commands", **asked)  # type: ignore[arg-type]
    if fails:
        with pytest.raises(UserError, match="cannot download it"):
            open_speech(chosen, ("up",))
        return
    found = open_speech(chosen, ("up",))
    assert not any(found.without.values())
    assert "cannot download it" in found.notes[0]
    assert "not to be left listening" in found.notes[0]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"speech": "nowhere"}, "--speech 'nowhere' does not exist; give"),
        ({"speech_evaluation": "nowhere"}, "--speech-evaluation 'nowhere' does not exist; give"),
        ({"negatives": "{empty}"}, "--negatives '{empty}' has no recordings that are read here; give"),
        ({"speech": "{empty}"}, "--speech '{empty}' has no recordings that are read here; give"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, options: dict[str, str], told: str) -> None:
    (tmp_path / "empty").mkdir()
    filled = {name: value.format(empty=tmp_path / "empty") for name, value in options.items()}
    with pytest.raises(UserError) as error:
        open_speech(Settings("some", **({"speech": "none"} | filled)), ("up",))  # type: ignore[arg-type]
    assert told.format(empty=tmp_path / "empty") in str(error.value)


def test_spoken_sentences_hold_no_keyword_and_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = open_speech(settings("spoken"), ("go", "stop", "left"))
    every = [one for recordings in (*found.without.values(), *found.holding.values()) for one in recordings]
    assert len(every) > 100
    assert not any((one.words or frozenset()) & {"go", "stop", "left"} for one in every)
    assert all(found.without.values())
    monkeypatch.setattr(speech.synthetic, "_in_processes", None)
    assert open_speech(settings("spoken"), ("go", "stop", "left")).without == found.without
