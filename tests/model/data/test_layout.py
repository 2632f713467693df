"""Folders as people have them: words, divisions, speakers, and what is no data."""

import os
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from model.data.source import require_clips
from model.errors import UserError

from .conftest import USUAL, files_of, numbered, opened, pack_zip, recording, tar, told, write

Expected = dict[str, tuple[str, str, str]]  # name -> word, split, speaker
PLAIN = numbered(USUAL, 3)


def placed(path: Path, **settings: Any) -> Expected:
    return {clip.name: (clip.word, clip.split, clip.speaker) for clip in opened(path, **settings).clips}


DIVISIONS: dict[str, tuple[list[str], Expected]] = {
    "the usual names": (
        ["train/go/1.wav", "val/go/1.wav", "test/go/1.wav", "train/no/1.wav", "val/no/1.wav", "test/no/1.wav"],
        {
            "train/go/1.wav": ("go", "training", ""),
            "val/go/1.wav": ("go", "validation", ""),
            "test/go/1.wav": ("go", "testing", ""),
        },
    ),
    "long names with capitals": (
        ["Training/go/1.wav", "Validation/go/1.wav", "Testing/go/1.wav", "Training/a/1.wav"],
        {"Validation/go/1.wav": ("go", "validation", ""), "Testing/go/1.wav": ("go", "testing", "")},
    ),
    "one more folder, in a wrapping folder": (
        [
            "pack/train/audio/go/1.wav",
            "pack/dev/audio/go/1.wav",
            "pack/test/audio/go/1.wav",
            "pack/train/audio/a/1.wav",
        ],
        {"pack/dev/audio/go/1.wav": ("go", "validation", "")},
    ),
    "speakers below the words": (
        [f"{split}/go/{name}/1.wav" for split in ("train", "valid", "test") for name in ("ann", "ben", "cat")]
        + ["train/a/ann/1.wav"],
        {"valid/go/ben/1.wav": ("go", "validation", "ben"), "train/a/ann/1.wav": ("a", "training", "ann")},
    ),
    "the rest beside a test folder": (
        ["go/1.wav", "stop/1.wav", "test/go/2.wav", "test/stop/2.wav"],
        {"test/go/2.wav": ("go", "testing", "")},
    ),
    "a word that is called test": (
        ["test/1.wav", "go/1.wav", "stop/1.wav"],
        {"test/1.wav": ("test", "*", ""), "go/1.wav": ("go", "*", "")},
    ),
    "a test folder without words": (
        ["train/audio/go/1.wav", "train/audio/stop/1.wav", "test/audio/clip_1.wav"],
        {"train/audio/go/1.wav": ("go", "*", "")},
    ),
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize(("names", "expected"), DIVISIONS.values(), ids=DIVISIONS)
def test_a_division_on_top_is_kept(tmp_path: Path, names: list[str], expected: Expected, packed: bool) -> None:
    files = files_of(names)
    found = placed(tar(tmp_path / "a.tgz", files) if packed else write(tmp_path / "data", files))
    for name, (word, split, speaker) in expected.items():
        assert found[name][0] == word
        assert split in ("*", found[name][1])
        assert found[name][2] == speaker


def test_every_clip_of_a_division_whose_names_repeat_is_there(tmp_path: Path) -> None:
    names = [
        f"{split}/{word}/{number}.wav"
        for split, count in (("training", 30), ("validation", 8), ("testing", 9))
        for word in USUAL
        for number in range(count)
    ]
    for path in (write(tmp_path / "d", files_of(names)), tar(tmp_path / "d.tgz", files_of(names))):
        dataset = opened(path)
        assert Counter(clip.split for clip in dataset.clips) == {"training": 120, "validation": 32, "testing": 36}
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


def test_what_stands_beside_a_division_is_named(tmp_path: Path) -> None:
    names = [
        "train/go/1.wav",
        "val/go/1.wav",
        "train/a/1.wav",
        "extra/x.wav",
        "test/audio/c.wav",
        "_background_noise_/n.wav",
    ]
    dataset = opened(write(tmp_path, files_of(names)))
    assert "2 recordings are not in folders of the same words and left out: 'extra', 'test'" in told(dataset)
    assert dataset.noise == ("_background_noise_/n.wav",)


LAYOUTS: dict[str, tuple[list[str], dict[str, Any], Expected]] = {
    "wrapping folders": (["a/b/go/1.wav", "a/b/no/1.wav"], {}, {"a/b/go/1.wav": ("go", "*", "")}),
    "words, then speakers": (
        ["go/ann/1.wav", "no/ann/1.wav", "go/ben/1.wav", "go/cat/x/1.wav"],
        {},
        {"go/ann/1.wav": ("go", "*", "ann"), "go/cat/x/1.wav": ("go", "*", "cat")},
    ),
    "speakers, then words": (
        [f"{name}/{word}/1.wav" for name in ("ann", "ben", "cat") for word in USUAL],
        {},
        {"ben/yes/1.wav": ("yes", "*", "ben")},
    ),
    "speakers, then own words": (
        [f"{name}/{word}/1.wav" for name in ("ann", "ben", "cat") for word in ("go", "stop")],
        {"labels": ("go", "stop")},
        {"ben/stop/1.wav": ("stop", "*", "ben")},
    ),
    "too few folders to be speakers": (
        ["go/wavs/1.wav", "stop/wavs/1.wav"],
        {},
        {"go/wavs/1.wav": ("go", "*", "")},
    ),
    "classes": (
        [*PLAIN, "_unknown_/bed/1.wav", "_silence_/1.wav"],
        {},
        {"_unknown_/bed/1.wav": ("_unknown_", "*", ""), "_silence_/1.wav": ("_silence_", "*", "")},
    ),
    "classes by plainer names": (
        [*PLAIN, "Unknown/1.wav", "silence/1.wav"],
        {},
        {"Unknown/1.wav": ("_unknown_", "*", ""), "silence/1.wav": ("_silence_", "*", "")},
    ),
    "a keyword that is called silence": (
        ["silence/1.wav", "go/1.wav"],
        {"labels": ("silence", "go")},
        {"silence/1.wav": ("silence", "*", "")},
    ),
    "a pattern for speakers": (
        ["yes/yes_anna_3.wav", "no/no_anna_3.wav", "yes/odd.wav"],
        {"labels": ("yes", "no"), "speaker_pattern": "_([a-z]+)_"},
        {"yes/yes_anna_3.wav": ("yes", "*", "anna"), "yes/odd.wav": ("yes", "*", "")},
    ),
    "a pattern without a group": (
        ["yes/anna-3.wav", "no/ben-3.wav"],
        {"labels": ("yes", "no"), "speaker_pattern": "^[a-z]+"},
        {"no/ben-3.wav": ("no", "*", "ben")},
    ),
    "capitals": (
        ["Yes/1.wav", "yes/2.wav", "NO/1.wav", "Up/1.wav", "down/1.wav"],
        {},
        {"Yes/1.wav": ("yes", "*", ""), "NO/1.wav": ("no", "*", "")},
    ),
    "a label in capitals": (
        ["yes/1.wav", "no/1.wav"],
        {"labels": ("Yes", "No")},
        {"yes/1.wav": ("Yes", "*", "")},
    ),
    "decomposed characters": (
        [unicodedata.normalize("NFD", "über/1.wav"), "no/1.wav"],
        {"labels": ("über", "no")},
        {unicodedata.normalize("NFD", "über/1.wav"): ("über", "*", "")},
    ),
    "a decomposed label": (
        ["über/1.wav", "no/1.wav"],
        {"labels": (unicodedata.normalize("NFD", "über"), "no")},
        {"über/1.wav": ("über", "*", "")},
    ),
}


@pytest.mark.parametrize(("names", "settings", "expected"), LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(tmp_path: Path, names: list[str], settings: dict[str, Any], expected: Expected) -> None:
    found = placed(write(tmp_path, files_of(names)), **settings)
    assert len(found) == len(names)
    for name, (word, _, speaker) in expected.items():
        assert (found[name][0], found[name][2]) == (word, speaker)


LABELS = [
    ([*PLAIN, "go/1.wav"], (), USUAL, ""),
    (
        ["go/1.wav", "stop/1.wav", "_unknown_/1.wav"],
        (),
        ("go", "stop"),
        "the keywords are all words of the data set: go, stop",
    ),
    (["go/1.wav", "no/1.wav", "yes/1.wav"], (), ("go", "no", "yes"), "the keywords are all words"),
    (["go/1.wav", "no/1.wav", "yes/1.wav"], ("yes", "go"), ("yes", "go"), ""),
]


@pytest.mark.parametrize(("names", "given", "labels", "note"), LABELS)
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


def test_formats_by_suffix_whatever_its_capitals_and_others_counted(tmp_path: Path) -> None:
    files = files_of(PLAIN)
    for number, suffix in enumerate((".WAV", ".Flac", ".ogg", ".mp3", ".aiff", ".opus", ".au", ".w64")):
        files[f"yes/other{number}{suffix}"] = b"-"
    count = len(files)
    files |= {f"yes/{number}.m4a": b"-" for number in range(30)} | {"no/1.WEBM": b"-", "no/notes.txt": b"-"}
    for path in (write(tmp_path / "d", files), tar(tmp_path / "d.tar", files, mode="w")):
        dataset = opened(path)
        assert len(dataset.clips) == count
        assert "not read: 30 .m4a in yes, 1 .webm in no; convert it with `ffmpeg" in told(dataset)


def test_names_that_are_not_utf8_are_counted_and_left_out(tmp_path: Path) -> None:
    files = files_of([*PLAIN, os.fsdecode(b"yes/\xfcber.wav"), os.fsdecode(b"\xfcber/1.wav")])
    for path in (write(tmp_path / "d", files), tar(tmp_path / "d.tar", files, mode="w")):
        dataset = opened(path)
        assert len(dataset.clips) == len(PLAIN)
        assert re.search(r"2 names are not in UTF-8 and left out: '.*\\xfcber.* and 1 more; rename", told(dataset))


def test_a_folder_of_links_works_and_dangling_ones_are_counted(tmp_path: Path) -> None:
    store = write(tmp_path / "store", files_of(PLAIN))
    root = tmp_path / "links"
    (root / "up").mkdir(parents=True)
    for path in (store / "up").iterdir():
        (root / "up" / path.name).symlink_to(path)
    for word in USUAL[1:]:
        (root / word).symlink_to(store / word)
    (root / "up" / "gone.wav").symlink_to(tmp_path / "nowhere")
    (root / "up" / "circle").symlink_to(root)
    (root / "up" / "self.wav").symlink_to("self.wav")
    os.mkfifo(root / "up" / "pipe.wav")
    dataset = opened(root)
    assert [clip.name for clip in dataset.clips] == sorted(PLAIN)
    assert "3 recordings are no files but links to nothing, or pipes: 'up/gone.wav' and 2 more" in told(dataset)


def test_empty_folders_few_clips_and_odd_folders_are_named(tmp_path: Path) -> None:
    root = write(tmp_path, files_of([*PLAIN, "scripts/demo.wav", "loose.wav", "_odd/1.wav"]))
    (root / "go").mkdir()
    notes = told(opened(root))
    for note in (
        "1 folders are empty: 'go'",
        "with few clips: scripts (1)",
        "1 recordings are in no word's folder and left out: 'loose.wav'",
        "begin with '_' are no words and left out: '_odd'",
    ):
        assert note in notes


REFUSED: list[tuple[list[str], dict[str, Any], str]] = [
    ([], {}, r"has no words; it holds no recordings; give a folder of recordings a word"),
    (["1.wav"], {}, r"has no words; 1 recordings are in no word's folder"),
    (["yes/1.m4a", "no/1.m4a"], {}, r"has no words; recordings that are not read: 1 .m4a in no, .*`ffmpeg"),
    (["go/1.wav"], {}, r"has the one word 'go' and nothing to tell it from"),
    (
        ["go/1.wav", "no/1.wav", "yes/1.m4a"],
        {"labels": ("yes", "no")},
        r"label 'yes' has no clips .*\(it has go, no\).*1 .m4a",
    ),
    (PLAIN, {"speaker_pattern": "("}, r"--speaker-pattern '\(' is no regular expression"),
    (PLAIN, {"speaker_pattern": "^nobody"}, r"--speaker-pattern '\^nobody' matches no recording, '0000\w+.wav' say"),
]


@pytest.mark.parametrize(("names", "settings", "message"), REFUSED)
def test_what_is_no_data_set_is_refused_in_a_line(
    tmp_path: Path, names: list[str], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        opened(write(tmp_path, {name: recording(name) for name in names}), **settings)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "'nowhere' does not exist; give a folder, an archive, speech-commands or synthetic"),
        ("https://host/a.tar.gz", "does not exist; give its address to --dataset-url"),
        ("/dev/null", "is neither a folder nor a file"),
    ],
)
def test_what_is_not_there_is_refused(path: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        opened(path)


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)  # a test that root may run as well
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
    files = files_of(
        ["go/1.wav", "go/2.wav", "no/1.wav"], validation_list="go/1.wav", testing_list="go/2.wav\nno/1.wav"
    )
    dataset = opened(write(tmp_path, files))
    require_clips(dataset, ("testing",))
    with pytest.raises(UserError, match=r"label 'go' has no clips in the training split .*lists of the data set"):
        require_clips(dataset)
