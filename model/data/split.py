"""Who speaks in a recording, and which split it belongs to.

A data set's own division or lists decide where they are there; elsewhere the rule of Speech Commands (Warden 2018,
arXiv:1804.03209), by which a speaker's recordings stay together and in the same split when others are added.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kws.audio import AUDIO_SUFFIXES
from model.data.layout import Clip, Layout, Recording, some
from model.data.tree import TESTING_LIST, VALIDATION_LIST, read_text, suffix_of
from model.errors import UserError

HELD_OUT = 10.0  # per cent for validation, and as many for testing
_MAX_WAVS_PER_CLASS = 2**27 - 1  # the constant of the data set's own README
_FEW_UNKNOWN = 0.05  # share of recordings without a speaker that still lets the others speak for the whole
_FEWEST_SPEAKERS = 3  # one a split


@dataclass(frozen=True)
class Divided:
    """Clips with their splits, sorted by name, and the rule in words."""

    clips: tuple[Clip, ...]
    rule: str
    speakers_known: bool
    notes: tuple[str, ...]


def official_split(name: str) -> str:
    """``which_set`` of the Speech Commands README: the SHA-1 of what is before ``_nohash_`` in the file's name."""
    return _by_percent(_percent(re.sub(r"_nohash_.*$", "", name.rpartition("/")[2])))


def divide(layout: Layout, texts: Mapping[str, Path], speaker_pattern: str = "") -> Divided:
    """Give each recording of a layout its speaker and its split. ``texts`` has the lists, where there are any.

    Raises:
        UserError: a clip in both lists; a pattern that is none, or that nothing matches.
    """
    notes: list[str] = []
    speakers, unit = _speakers(layout.recordings, speaker_pattern, notes)
    given = {each.name: each.split for each in layout.recordings if each.split}
    held = set(given.values())
    no_training = bool(held) and "training" not in held
    rule = "folders of the data set"
    if not held:
        given, held = _listed(layout.recordings, texts, notes)
        rule = "lists of the data set"
    elif lists := [name for name in (VALIDATION_LIST, TESTING_LIST) if name in texts]:
        notes.append(f"the folders divide the data set; its {' and '.join(lists)} are not used")
    missing = [split for split in ("validation", "testing") if split not in held and not no_training]
    if not held:
        rule = f"SHA-1 of the {unit} (official rule)"
    elif missing:
        notes.append(f"the data set names no recordings for {' and '.join(missing)}: drawn by SHA-1 of the {unit}")
        rule += f"; {' and '.join(missing)} drawn from the rest by SHA-1 of the {unit}"
    splits = {each.name: given.get(each.name, "training") for each in layout.recordings}
    if missing:
        rest = [each for each in layout.recordings if splits[each.name] == "training"]
        drawn, ranked = _draw(rest, speakers, missing, set(layout.labels))
        splits |= drawn
        if ranked:
            rule = rule.replace("SHA-1", "rank of the SHA-1").replace(" (official rule)", "")
    clips = tuple(Clip(each.name, each.word, splits[each.name], speakers[each.name]) for each in layout.recordings)
    unknown = [clip.name for clip in clips if not clip.speaker and clip.word in layout.labels]
    known = len(unknown) <= _FEW_UNKNOWN * sum(clip.word in layout.labels for clip in clips)
    if unknown:
        notes.append(
            f"{len(unknown)} recordings do not say who speaks ({some(unknown)})"
            + ("" if known else ", so the test figure does not hold for new voices")
            + ": make a folder a speaker below each word, or give --speaker-pattern, or validation_list.txt and "
            "testing_list.txt"
        )
    return Divided(clips, rule, known, tuple(notes))


def _speakers(recordings: Sequence[Recording], pattern: str, notes: list[str]) -> tuple[dict[str, str], str]:
    """Each recording's speaker, empty where it is not known, and what the split is drawn by."""
    if pattern:
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise UserError(f"--speaker-pattern '{pattern}' is no regular expression ({error}); correct it") from error
        found = {each.name: expression.search(each.below) for each in recordings}
        speakers = {
            name: (match[1 if expression.groups else 0] or "") if match else "" for name, match in found.items()
        }
        if not any(speakers.values()) and recordings:
            raise UserError(
                f"--speaker-pattern '{pattern}' matches no recording, '{recordings[0].below}' say; correct it"
            )
        return speakers, "speaker"
    folders = {each.folder for each in recordings if each.folder and not each.word.startswith("_")}
    by_folder = len(folders) >= _FEWEST_SPEAKERS
    if folders and not by_folder:
        notes.append(f"the folders below the words are too few to be speakers: {some(sorted(folders), 5)}")
    speakers = {}
    for each in recordings:
        before, nohash, _ = each.name.rpartition("/")[2].partition("_nohash_")
        speaker = before if nohash else ""
        speakers[each.name] = each.folder if by_folder and each.folder in folders else speaker
    return speakers, "speaker" if any(speakers.values()) else "recording's name"


def _listed(
    recordings: Sequence[Recording], texts: Mapping[str, Path], notes: list[str]
) -> tuple[dict[str, str], set[str]]:
    """The splits that lists give to recordings, and the splits that have a list."""
    known: dict[str, list[str]] = {}
    for each in recordings if texts.keys() & {VALIDATION_LIST, TESTING_LIST} else ():
        parts = _key(each.name).split("/")
        for start in range(len(parts) - 1):  # by the end of its path: a list need not know the folders around
            known.setdefault("/".join(parts[start:]), []).append(each.name)
    given: dict[str, str] = {}
    held = set()
    for list_name, split in ((VALIDATION_LIST, "validation"), (TESTING_LIST, "testing")):
        if list_name not in texts:
            continue
        held.add(split)
        lines = [line.strip() for line in read_text(texts[list_name]).splitlines() if line.strip()]
        nobody = []
        for line in lines:
            names = _find(line, known)
            if not names:
                nobody.append(line)
            for name in names:
                if given.setdefault(name, split) != split:
                    raise UserError(f"'{name}' is listed for validation and for testing; list it once")
        if nobody:
            notes.append(f"{len(nobody)} of {len(lines)} lines of {list_name} name no recording: {some(nobody)}")
    if given and all(official_split(name) == split for name, split in given.items()):  # the official lists
        added = [each.name for each in recordings if "_nohash_" in each.name and each.name not in given]
        if held_out := [name for name in added if official_split(name) in held]:
            notes.append(
                f"{len(held_out)} recordings are in no list, so they are trained on, though the official rule holds "
                f"them out: {some(held_out)}; remove the lists to split all by that rule"
            )
    return given, held


def _find(line: str, known: Mapping[str, list[str]]) -> list[str]:
    key = _key(line.replace("\\", "/").removeprefix("./"))
    while key not in known and "/" in key:
        key = key.partition("/")[2]
    return known.get(key, [])


def _key(name: str) -> str:
    """A name as lists and folders may both write it: composed characters, without the suffix of a format."""
    name = unicodedata.normalize("NFC", name)
    suffix = suffix_of(name)
    return name[: -len(suffix)] if suffix in AUDIO_SUFFIXES else name


def _percent(unit: str) -> float:
    hashed = int(hashlib.sha1(unit.encode(), usedforsecurity=False).hexdigest(), 16)
    return (hashed % (_MAX_WAVS_PER_CLASS + 1)) * (100.0 / _MAX_WAVS_PER_CLASS)


def _by_percent(percent: float) -> str:
    if percent < HELD_OUT:
        return "validation"
    return "testing" if percent < 2 * HELD_OUT else "training"


def _draw(
    recordings: Sequence[Recording], speakers: Mapping[str, str], missing: Sequence[str], labels: set[str]
) -> tuple[dict[str, str], bool]:
    """The splits of recordings, each ``missing`` one by the official rule; whether ranks had to decide.

    Where the rule leaves a keyword without clips in a split, as it may with few of them, the keywords' speakers (or
    the recordings of a word) are ranked by the same number and the first tenths taken, one at least.
    """
    percents = {each.name: _percent(speakers[each.name] or each.name.rpartition("/")[2]) for each in recordings}

    def splits_of(percents: Mapping[str, float]) -> dict[str, str]:
        by_rule = {name: _by_percent(percent) for name, percent in percents.items()}
        return {name: split if split in missing else "training" for name, split in by_rule.items()}

    drawn = splits_of(percents)
    counts = Counter((each.word, drawn[each.name]) for each in recordings)
    present = {each.word for each in recordings} & labels
    if all(counts[word, split] for word in present for split in ("training", *missing)):
        return drawn, False
    groups: dict[str, set[float]] = {}  # by speaker all the keywords' together, else word by word
    for each in recordings:
        if each.word in labels or not speakers[each.name]:
            groups.setdefault("" if speakers[each.name] else each.word, set()).add(percents[each.name])
    ranks = {group: {percent: rank for rank, percent in enumerate(sorted(found))} for group, found in groups.items()}
    ranked = dict(percents)
    for each in recordings:
        of_group = ranks.get("" if speakers[each.name] else each.word, {})
        if percents[each.name] in of_group:
            tenth = max(1, round(len(of_group) * HELD_OUT / 100))
            ranked[each.name] = HELD_OUT * (of_group[percents[each.name]] // tenth)
    again = splits_of(ranked)
    counts = Counter((each.word, again[each.name]) for each in recordings)
    if all(counts[word, split] for word in present for split in ("training", *missing)):
        return again, True
    return drawn, False
