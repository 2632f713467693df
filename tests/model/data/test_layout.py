"""Folders as people have them: words, divisions, speakers, and what is no data."""

import contextlib
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from model.data.source import require_clips
from model.errors import UserError

from ..conftest import USUAL, files_of, numbered, opened, pack_zip, recording, tar, told, write_files

PLAIN = numbered(USUAL, 3)
UBER = unicodedata.normalize("NFD", "über")
TOPS = {"train": "training", "val": "validation", "test": "testing"}
TRIPLE = [f"{top}/go/1" for top in TOPS]

# What there is (without the suffix): its word, split (* where it is drawn) and speaker.
SPEAKERS = {f"{top}/go/{who}/1": f"go {split} {who}" for top, split in TOPS.items() for who in ("ann", "ben", "cat")}
LAYOUTS: dict[str, dict[str, str]] = {
    "a division": {f"{top}/{word}/1": f"{word} {split}" for top, split in TOPS.items() for word in ("go", "no")},
    "long names, one more folder, in a wrapping folder": {
        **{f"pack/{split.title()}/audio/go/1": f"go {split}" for split in TOPS.values()},
        "pack/Training/audio/no/1": "no training",
    },
    "a division, speakers below the words": {**SPEAKERS, "train/a/ann/1": "a training ann"},
    "the rest beside a test folder": {"go/1": "go *", "stop/1": "stop *", "test/go/2": "go testing", "test/stop/2": ""},
    "a word that is called test": {"test/1": "test *", "go/1": "go *", "stop/1": "stop *"},
    "wrapping folders": {"a/b/go/1": "go *", "a/b/no/1": "no *"},
    "speakers": {"go/ann/1": "go * ann", "no/ann/1": "no * ann", "go/ben/1": "go * ben", "go/cat/x/1": "go * cat"},
    "too few folders to be speakers": {"go/wavs/1": "go *", "stop/wavs/1": "stop *"},
    "classes": {"yes/1": "yes *", "no/1": "", "_unknown_/bed/1": "_unknown_ *", "_silence_/1": "_silence_ *"},
    "classes by plainer names": {"yes/1": "yes *", "no/1": "", "Unknown/1": "_unknown_ *", "silence/1": "_silence_ *"},
    "a keyword that is called silence": {"silence/1": "silence *", "go/1": "go *"},
    "a pattern for speakers": {"yes/yes_anna_3": "yes * anna", "no/no_anna_3": "no * anna", "yes/odd": "yes *"},
    "a pattern without a group": {"yes/anna-3": "yes * anna", "no/ben-3": "no * ben"},
    "capitals": {"Yes/1": "yes *", "yes/2": "yes *", "NO/1": "no *", "Up/1": "up *", "down/1": "down *"},
    "a label in capitals": {"yes/1": "Yes *", "no/1": "No *"},
    "decomposed characters": {f"{UBER}/1": "über *", "no/1": "no *"},
    "a decomposed label": {"über/1": "über *", "no/1": "no *"},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "a keyword that is called silence": {"labels": ("silence", "go")},
    "a pattern for speakers": {"speaker_pattern": "_([a-z]+)_"},
    "a pattern without a group": {"speaker_pattern": "^[a-z]+"},
    "a label in capitals": {"labels": ("Yes", "No")},
    "decomposed characters": {"labels": ("über", "no")},
    "a decomposed label": {"labels": (UBER, "no")},
}


@pytest.mark.parametrize("pack", [write_files, tar], ids=["folder", "archive"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path: Path, name: str, pack: Any) -> None:
    expected = LAYOUTS[name]
    dataset = opened(pack(tmp_path / "d", files_of(f"{name}.wav" for name in expected)), **SETTINGS.get(name, {}))
    found = {clip.name.removesuffix(".wav"): clip for clip in dataset.clips}
    assert found.keys() == expected.keys()
    for path, wanted in expected.items():
        word, split, speaker = [*wanted.split(), "", "", ""][:3]
        assert not wanted or (found[path].word, found[path].speaker) == (word, speaker)
        assert split in ("", "*", found[path].split)


@pytest.mark.parametrize(
    ("given", "drawn"), [(("train", "test"), "validation"), (("train", "val"), "testing"), (("test",), "")]
)
def test_a_split_that_a_division_lacks_is_drawn_from_training_and_told(
    tmp_path: Path, given: tuple[str, ...], drawn: str
) -> None:
    names = [f"{split}/{name}" for split in given for name in numbered(("go", "stop"), 40)]
    dataset = opened(write_files(tmp_path, files_of(names)))
    splits = {clip.split for clip in dataset.clips if clip.name.startswith(f"{given[0]}/")}
    assert splits == ({"training", drawn} if drawn else {"testing"})
    drawn_by = f"; {drawn} drawn from the rest by the speakers' names (SHA-1)" if drawn else ""
    assert dataset.split_rule == f"folders of the data set{drawn_by}"
    assert (f"no recordings for {drawn}" in told(dataset)) is bool(drawn)


# What becomes clips, what does not, and what is told.
OTHER_WORDS = "recordings are not in folders of the same words and left out:"
TOLD: list[tuple[list[str], list[str], str]] = [
    ([*TRIPLE, "train/a/1"], ["extra/x", "old/audio/c"], f"2 {OTHER_WORDS} 'extra', 'old'"),
    (["train/audio/go/1", "train/audio/stop/1"], ["test/audio/clip_1"], f"1 {OTHER_WORDS} 'test'"),
    (["go/1", "no/1"], ["loose"], "recordings in no word's folder are left out: 'loose.wav'"),
    (["go/1", "no/1"], ["_odd/1"], "begin with '_' are no words and left out: '_odd'"),
    ([name[:-4] for name in (*PLAIN, "scripts/demo.wav")], [], "with few clips: scripts (1)"),
    (["ann/go/1", "ben/go/1"], [], "2 recordings are in a folder below a word's, read as WORD/SPEAKER: 'ann"),
    (["go/1", "no/1", "_unknown_/1"], [], "the keywords are all words of the data set: go, no; --labels names others"),
]


@pytest.mark.parametrize(("names", "left_out", "note"), TOLD)
def test_what_is_left_out_or_taken_for_granted_is_told(
    tmp_path: Path, names: list[str], left_out: list[str], note: str
) -> None:
    noise = "_background_noise_/n"
    dataset = opened(write_files(tmp_path, files_of(f"{name}.wav" for name in (*names, *left_out, noise))))
    assert {clip.name for clip in dataset.clips} == {f"{name}.wav" for name in names}
    assert note in told(dataset)
    assert (dataset.noise, dataset.licence, dataset.attribution) == ((f"{noise}.wav",), "", "")


LEFTOVERS = [
    *("._1.wav", "yes/._1.wav", "yes/.hidden.wav", "yes/~$1.wav", "yes/1.wav~", "lost+found/#1.wav", "@eaDir/1.wav"),
    *("__MACOSX/yes/1.wav", "yes/.ipynb_checkpoints/1.wav", ".git/1.wav", ".Trash-1000/1.wav", "yes/Thumbs.db"),
    *("desktop.ini", "yes/.DS_Store", "$RECYCLE.BIN/1.wav", "System Volume Information/1.wav", "__pycache__/1.wav"),
]


@pytest.mark.parametrize("pack", [write_files, pack_zip], ids=["folder", "zip"])
def test_what_systems_and_editors_leave_behind_is_no_data(tmp_path: Path, pack: Any) -> None:
    dataset = opened(pack(tmp_path / "d", {**files_of(PLAIN), **dict.fromkeys(LEFTOVERS, b"x")}))
    assert [clip.name for clip in dataset.clips] == sorted(PLAIN)
    assert dataset.notes == ()


@pytest.mark.parametrize("pack", [write_files, tar], ids=["folder", "tar"])
def test_formats_by_suffix_and_what_cannot_be_used_is_counted(tmp_path: Path, pack: Any) -> None:
    suffixes = (".WAV", ".Flac", ".ogg", ".mp3", ".aiff", ".opus", ".au", ".w64")
    clips = [*PLAIN, *(f"yes/other{number}{suffix}" for number, suffix in enumerate(suffixes))]
    misnamed = [os.fsdecode(b"yes/\xfcber.wav"), os.fsdecode(b"\xfcber/1.wav")]
    media = [*(f"yes/{number}.m4a" for number in range(30)), "no/1.WEBM"]
    dataset = opened(pack(tmp_path / "d", dict.fromkeys([*clips, *misnamed, *media, "no/notes.txt"], b"-")))
    assert [clip.name for clip in dataset.clips] == sorted(clips)
    assert "not read: 30 .m4a in yes, 1 .webm in no; convert them with `ffmpeg" in told(dataset)
    assert "2 names are not in UTF-8 and left out: 'yes/\\xfcber.wav', '\\xfcber/1.wav'; rename" in told(dataset)


def test_a_folder_of_links_works_and_dangling_ones_are_counted(tmp_path: Path) -> None:
    store = write_files(tmp_path / "store", files_of(PLAIN))
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
    (["1.wav"], {}, r"has no words; recordings in no word's folder are left out: '1.wav'; give"),
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
        opened(write_files(tmp_path, {name: recording(name) for name in names}), **settings)


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    for lists in ("listdir", "scandir"):  # a test that root may run as well; which of them counts is Python's to choose
        monkeypatch.setattr(os, lists, refuse)
    with pytest.raises(UserError, match=r"folder '.*' cannot be read \(permission denied\); change its rights"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("info", "licence", "refusal"),
    [
        (b'\xef\xbb\xbf{"name": "tones", "licence": "CC0 1.0"}', "CC0 1.0", ""),
        ('{"name": "tones", "licence": null}'.encode("utf-16"), "", ""),
        (b"{", "", "is not JSON"),
        (b"[]", "", "is not a JSON object"),
        (b"\xfc\xff\xfe", "", "is not a text file in UTF-8"),
    ],
)
def test_the_data_set_s_own_word_of_itself(tmp_path: Path, info: bytes, licence: str, refusal: str) -> None:
    root = write_files(tmp_path, {**files_of(PLAIN), "dataset.json": info})
    with pytest.raises(UserError, match=refusal) if refusal else contextlib.nullcontext():
        dataset = opened(root)
        assert (dataset.name, dataset.licence, dataset.labels) == ("tones", licence, USUAL)
        assert opened(root, labels=("yes", "up")).labels == ("yes", "up")
        assert opened(root, licence=" MIT ", attribution="me").licence == "MIT"


def test_a_label_needs_clips_in_the_splits_that_are_asked_for(tmp_path: Path) -> None:
    lists = {"validation_list": "go/1.wav", "testing_list": "go/2.wav\nno/1.wav"}
    dataset = opened(write_files(tmp_path, files_of(["go/1.wav", "go/2.wav", "no/1.wav"], **lists)))
    require_clips(dataset, ("testing",))
    with pytest.raises(
        UserError,
        match=r"label 'go' has no clips in the training split .*lists of the data set; add clips of more speakers$",
    ):
        require_clips(dataset)
