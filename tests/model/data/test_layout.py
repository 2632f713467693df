"""Folders as people have them: words, divisions, speakers, and what is no data."""

import os
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from model.data.source import require_clips
from model.errors import UserError

from .conftest import USUAL, files_of, numbered, opened, pack_zip, recording, tar, told, write

PLAIN = numbered(USUAL, 3)
UBER = unicodedata.normalize("NFD", "über")
PEOPLE = ("ann", "ben", "cat")
TRIPLE = ["train/go/1", "val/go/1", "test/go/1"]

# What there is (without the suffix), and of some clips the word, the split (* where it is drawn) and the speaker.
LAYOUTS: dict[str, tuple[list[str], dict[str, Any], dict[str, str]]] = {
    "a division": (
        [*TRIPLE, "train/no/1", "val/no/1", "test/no/1"],
        {},
        {"train/go/1": "go training", "val/go/1": "go validation", "test/go/1": "go testing"},
    ),
    "a division by long names with capitals": (
        ["Training/go/1", "Validation/go/1", "Testing/go/1", "Training/a/1"],
        {},
        {"Validation/go/1": "go validation", "Testing/go/1": "go testing"},
    ),
    "a division with one more folder, in a wrapping folder": (
        ["pack/train/audio/go/1", "pack/dev/audio/go/1", "pack/test/audio/go/1", "pack/train/audio/a/1"],
        {},
        {"pack/dev/audio/go/1": "go validation"},
    ),
    "a division, speakers below the words": (
        [f"{split}/go/{name}/1" for split in ("train", "valid", "test") for name in PEOPLE] + ["train/a/ann/1"],
        {},
        {"valid/go/ben/1": "go validation ben", "train/a/ann/1": "a training ann"},
    ),
    "the rest beside a test folder": (["go/1", "stop/1", "test/go/2", "test/stop/2"], {}, {"test/go/2": "go testing"}),
    "a word that is called test": (["test/1", "go/1", "stop/1"], {}, {"test/1": "test *", "go/1": "go *"}),
    "wrapping folders": (["a/b/go/1", "a/b/no/1"], {}, {"a/b/go/1": "go *"}),
    "words, then speakers": (
        ["go/ann/1", "no/ann/1", "go/ben/1", "go/cat/x/1"],
        {},
        {"go/ann/1": "go * ann", "go/cat/x/1": "go * cat"},
    ),
    "too few folders to be speakers": (["go/wavs/1", "stop/wavs/1"], {}, {"go/wavs/1": "go *"}),
    "classes": (
        ["yes/1", "no/1", "_unknown_/bed/1", "_silence_/1"],
        {},
        {"_unknown_/bed/1": "_unknown_ *", "_silence_/1": "_silence_ *"},
    ),
    "classes by plainer names": (
        ["yes/1", "no/1", "Unknown/1", "silence/1"],
        {},
        {"Unknown/1": "_unknown_ *", "silence/1": "_silence_ *"},
    ),
    "a keyword that is called silence": (
        ["silence/1", "go/1"],
        {"labels": ("silence", "go")},
        {"silence/1": "silence *"},
    ),
    "a pattern for speakers": (
        ["yes/yes_anna_3", "no/no_anna_3", "yes/odd"],
        {"speaker_pattern": "_([a-z]+)_"},
        {"yes/yes_anna_3": "yes * anna", "yes/odd": "yes *"},
    ),
    "a pattern without a group": (["yes/anna-3", "no/ben-3"], {"speaker_pattern": "^[a-z]+"}, {"no/ben-3": "no * ben"}),
    "capitals": (["Yes/1", "yes/2", "NO/1", "Up/1", "down/1"], {}, {"Yes/1": "yes *", "NO/1": "no *"}),
    "a label in capitals": (["yes/1", "no/1"], {"labels": ("Yes", "No")}, {"yes/1": "Yes *"}),
    "decomposed characters": ([f"{UBER}/1", "no/1"], {"labels": ("über", "no")}, {f"{UBER}/1": "über *"}),
    "a decomposed label": (["über/1", "no/1"], {"labels": (UBER, "no")}, {"über/1": "über *"}),
}


@pytest.mark.parametrize("pack", [write, tar, pack_zip], ids=["folder", "tar", "zip"])
@pytest.mark.parametrize(("names", "settings", "expected"), LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(
    tmp_path: Path, names: list[str], settings: dict[str, Any], expected: dict[str, str], pack: Any
) -> None:
    dataset = opened(pack(tmp_path / "d", files_of(f"{name}.wav" for name in names)), **settings)
    found = {clip.name.removesuffix(".wav"): clip for clip in dataset.clips}
    assert found.keys() == set(names)
    for name, wanted in expected.items():
        word, split, speaker = [*wanted.split(), ""][:3]
        assert (found[name].word, found[name].speaker) == (word, speaker)
        assert split in ("*", found[name].split)


def test_every_clip_of_a_division_whose_names_repeat_is_there(tmp_path: Path) -> None:
    counts = {"training": 30, "validation": 8, "testing": 9}
    names = [f"{split}/{name}" for split in counts for name in numbered(USUAL, counts[split], "{word}/{number}.wav")]
    for path in (write(tmp_path / "d", files_of(names)), tar(tmp_path / "d.tgz", files_of(names))):
        dataset = opened(path)
        assert Counter(clip.split for clip in dataset.clips) == {split: 4 * count for split, count in counts.items()}
        assert dataset.split_rule == "folders of the data set"


@pytest.mark.parametrize(
    ("given", "drawn"), [(("train", "test"), "validation"), (("train", "val"), "testing"), (("test",), "")]
)
def test_a_split_that_a_division_lacks_is_drawn_from_training_and_told(
    tmp_path: Path, given: tuple[str, ...], drawn: str
) -> None:
    names = [f"{split}/{name}" for split in given for name in numbered(("go", "stop"), 40)]
    dataset = opened(write(tmp_path, files_of(names)))
    splits = {clip.split for clip in dataset.clips if clip.name.startswith(f"{given[0]}/")}
    assert splits == ({"training", drawn} if drawn else {"testing"})
    assert (f"{drawn} drawn from the rest" in dataset.split_rule) is bool(drawn)
    assert (f"no recordings for {drawn}" in told(dataset)) is bool(drawn)


# Beside the four words, or instead of them: what is told, and nothing of it becomes a clip.
TOLD: dict[str, tuple[list[str], list[str], str]] = {
    "beside a division": (
        [*TRIPLE, "train/a/1"],
        ["extra/x", "old/audio/c"],
        "2 recordings are not in folders of the same words and left out: 'extra', 'old'",
    ),
    "a test folder without words": (
        ["train/audio/go/1", "train/audio/stop/1"],
        ["test/audio/clip_1"],
        "1 recordings are not in folders of the same words and left out: 'test'",
    ),
    "loose": (["go/1", "no/1"], ["loose"], "1 recordings are in no word's folder and left out: 'loose.wav'"),
    "private": (["go/1", "no/1"], ["_odd/1"], "begin with '_' are no words and left out: '_odd'"),
    "few": ([name[:-4] for name in (*PLAIN, "scripts/demo.wav")], [], "with few clips: scripts (1)"),
    "deeper": (["ann/go/1", "ben/go/1"], [], "2 recordings are in a folder below a word's, read as WORD/SPEAKER: 'ann"),
}


@pytest.mark.parametrize(("names", "left_out", "note"), TOLD.values(), ids=TOLD)
def test_what_is_left_out_or_taken_for_granted_is_told(
    tmp_path: Path, names: list[str], left_out: list[str], note: str
) -> None:
    noise = "_background_noise_/n"
    dataset = opened(write(tmp_path, files_of(f"{name}.wav" for name in (*names, *left_out, noise))))
    assert {clip.name for clip in dataset.clips} == {f"{name}.wav" for name in names}
    assert note in told(dataset)
    assert dataset.noise == (f"{noise}.wav",)


@pytest.mark.parametrize(
    ("names", "given", "labels", "note"),
    [
        ([*PLAIN, "go/1.wav"], (), USUAL, ""),
        (["go/1.wav", "no/1.wav", "_unknown_/1.wav"], (), ("go", "no"), "the keywords are all words of the data set"),
        (["go/1.wav", "no/1.wav", "yes/1.wav"], ("yes", "go"), ("yes", "go"), ""),
    ],
)
def test_labels(tmp_path: Path, names: list[str], given: tuple[str, ...], labels: tuple[str, ...], note: str) -> None:
    dataset = opened(write(tmp_path, files_of(names)), labels=given)
    assert dataset.labels == labels
    assert note in told(dataset)
    assert (dataset.licence, dataset.attribution) == ("", "")


LEFTOVERS = [
    *("._1.wav", "yes/._1.wav", "yes/.hidden.wav", "yes/~$1.wav", "yes/1.wav~", "lost+found/#1.wav", "@eaDir/1.wav"),
    *("__MACOSX/yes/1.wav", "yes/.ipynb_checkpoints/1.wav", ".git/1.wav", ".Trash-1000/1.wav", "yes/Thumbs.db"),
    *("desktop.ini", "yes/.DS_Store", "$RECYCLE.BIN/1.wav", "System Volume Information/1.wav", "__pycache__/1.wav"),
]


@pytest.mark.parametrize("pack", [write, tar, pack_zip], ids=["folder", "tar", "zip"])
def test_what_systems_and_editors_leave_behind_is_no_data(tmp_path: Path, pack: Any) -> None:
    dataset = opened(pack(tmp_path / "d", {**files_of(PLAIN), **dict.fromkeys(LEFTOVERS, b"x")}))
    assert [clip.name for clip in dataset.clips] == sorted(PLAIN)
    assert dataset.notes == ()


@pytest.mark.parametrize("pack", [write, tar], ids=["folder", "tar"])
def test_formats_by_suffix_and_what_cannot_be_used_is_counted(tmp_path: Path, pack: Any) -> None:
    suffixes = (".WAV", ".Flac", ".ogg", ".mp3", ".aiff", ".opus", ".au", ".w64")
    clips = [*PLAIN, *(f"yes/other{number}{suffix}" for number, suffix in enumerate(suffixes))]
    misnamed = [os.fsdecode(b"yes/\xfcber.wav"), os.fsdecode(b"\xfcber/1.wav")]
    media = [*(f"yes/{number}.m4a" for number in range(30)), "no/1.WEBM"]
    dataset = opened(pack(tmp_path / "d", dict.fromkeys([*clips, *misnamed, *media, "no/notes.txt"], b"-")))
    assert [clip.name for clip in dataset.clips] == sorted(clips)
    assert "not read: 30 .m4a in yes, 1 .webm in no; convert it with `ffmpeg" in told(dataset)
    assert "2 names are not in UTF-8 and left out: 'yes/\\xfcber.wav', '\\xfcber/1.wav'; rename" in told(dataset)


def test_a_folder_of_links_works_and_dangling_ones_are_counted(tmp_path: Path) -> None:
    store = write(tmp_path / "store", files_of(PLAIN))
    root = tmp_path / "links"
    (root / "up").mkdir(parents=True)
    (root / "empty").mkdir()
    for path in (store / "up").iterdir():
        (root / "up" / path.name).symlink_to(path)
    for word in USUAL[1:]:
        (root / word).symlink_to(store / word)
    for name, target in (("gone.wav", tmp_path / "nowhere"), ("circle", root), ("self.wav", "self.wav")):
        (root / "up" / name).symlink_to(target)
    os.mkfifo(root / "up" / "pipe.wav")
    dataset = opened(root)
    assert [clip.name for clip in dataset.clips] == sorted(PLAIN)
    assert "3 recordings are no files but links to nothing, or pipes: 'up/gone.wav', 'up/pipe.wav'" in told(dataset)
    assert "1 folders are empty: 'empty'" in told(dataset)


REFUSED: list[tuple[list[str], dict[str, Any], str]] = [
    ([], {}, r"has no words; it holds no recordings; give a folder of recordings a word"),
    (["1.wav"], {}, r"has no words; 1 recordings are in no word's folder"),
    (["yes/1.m4a", "no/1.m4a"], {}, r"has no words; recordings that are not read: 1 .m4a in no, .*`ffmpeg"),
    (["go/1.wav"], {}, r"has the one word 'go' and nothing to tell it from"),
    (
        ["go/1.wav", "a/1.wav", "yes/1.m4a"],
        {"labels": ("yes", "no")},
        r"label 'yes' has no clips .*\(it has a, go\).*1 .m4a",
    ),
    (["ann/go/1.wav", "ben/go/1.wav"], {"labels": ("go",)}, r"label 'go' has no clips .*below a word's, read as WORD"),
    (PLAIN, {"speaker_pattern": "("}, r"--speaker-pattern '\(' is no regular expression"),
    (PLAIN, {"speaker_pattern": "^nobody"}, r"--speaker-pattern '\^nobody' matches no recording, '0000\w+.wav' say"),
    (PLAIN, {"dataset": "nowhere"}, "'nowhere' does not exist; give a folder, an archive, speech-commands"),
    (PLAIN, {"dataset": "https://host/a.tar.gz"}, "does not exist; .* an address is for --dataset-url"),
    (PLAIN, {"dataset": "/dev/null"}, "is no file; give a folder, an archive"),
]


@pytest.mark.parametrize(("names", "settings", "message"), REFUSED)
def test_what_is_no_data_set_is_refused_in_a_line(
    tmp_path: Path, names: list[str], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        opened(write(tmp_path, {name: recording(name) for name in names}), **settings)


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)  # a test that root may run as well
    with pytest.raises(UserError, match=r"folder '.*' cannot be read \(permission denied\); change its rights"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("info", "outcome"),
    [
        (b'\xef\xbb\xbf{"name": "tones", "licence": "CC0 1.0"}', ("tones", "CC0 1.0")),
        ('{"name": "tones", "licence": null}'.encode("utf-16"), ("tones", "")),
        (b"{", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"\xfc\xff\xfe", "is not a text file in UTF-8"),
    ],
)
def test_the_data_set_s_own_word_of_itself(tmp_path: Path, info: bytes, outcome: tuple[str, str] | str) -> None:
    root = write(tmp_path, {**files_of(PLAIN), "dataset.json": info})
    if isinstance(outcome, str):
        with pytest.raises(UserError, match=outcome):
            opened(root)
        return
    dataset = opened(root)
    assert (dataset.name, dataset.licence) == outcome
    assert opened(root, licence=" MIT ", attribution="me").licence == "MIT"


def test_a_label_needs_clips_in_the_splits_that_are_asked_for(tmp_path: Path) -> None:
    lists = {"validation_list": "go/1.wav", "testing_list": "go/2.wav\nno/1.wav"}
    dataset = opened(write(tmp_path, files_of(["go/1.wav", "go/2.wav", "no/1.wav"], **lists)))
    require_clips(dataset, ("testing",))
    with pytest.raises(UserError, match=r"label 'go' has no clips in the training split .*lists of the data set"):
        require_clips(dataset)
