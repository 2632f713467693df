"""Who speaks in a recording, and which split it belongs to.

A data set's own division or lists decide where they are there; elsewhere the rule of Speech Commands (Warden 2018,
arXiv:1804.03209), by which a speaker's recordings stay together and in the same split when others are added.
"""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kws.audio import AUDIO_SUFFIXES
from model.data.layout import TESTING_LIST, VALIDATION_LIST, Clip, Layout, read_text, some, suffix_of
from model.errors import UserError

HELD_OUT = 10.0  # per cent for validation, and as many for testing
_MAX_WAVS_PER_CLASS = 2**27 - 1  # the constant of the data set's own README
_FEW_UNKNOWN = 0.05  # share of recordings without a speaker that still lets the others speak for the whole
_FEWEST_SPEAKERS = 3  # one a split
_LISTS = {VALIDATION_LIST: "validation", TESTING_LIST: "testing"}


def official_split(name: str) -> str:
    """``which_set`` of the Speech Commands README: the SHA-1 of what is before ``_nohash_`` in the file's name."""
    return _by_percent(_percent(name.rpartition("/")[2].partition("_nohash_")[0]))


def divide(layout: Layout, speaker_pattern: str, notes: list[str]) -> tuple[tuple[Clip, ...], str, bool]:
    """Give each clip of a layout its speaker and its split; with the rule in words, and whether speakers are known.

    Raises UserError: a clip in both lists; a pattern that is none, or that nothing matches.
    """
    recordings, labels = layout.clips, set(layout.labels)
    speakers = _by_pattern(recordings, speaker_pattern) if speaker_pattern else _by_name(recordings, notes)
    lists = {name: layout.texts[name] for name in _LISTS if name in layout.texts}
    if splits := {each.name: each.split for each in recordings if each.split}:
        held, rule = set(splits.values()), "folders of the data set"
        if lists:
            notes.append(f"the folders divide the data set; its {' and '.join(lists)} are not used")
    else:
        held, rule = {_LISTS[name] for name in lists}, "lists of the data set"
        splits = _listed(recordings, lists, notes)
    missing = [split for split in ("validation", "testing") if split not in held]
    rest = [each for each in recordings if splits.get(each.name, "training") == "training"]
    drawn, ranked = _draw(rest, speakers, missing if rest else (), labels)
    unit = "speaker" if any(speakers.values()) else "recording's name"
    by = f"{'rank of the ' * ranked}SHA-1 of the {unit}"
    if not held:
        rule = by if ranked else f"{by} (official rule)"
    elif missing and rest:
        rule += f"; {' and '.join(missing)} drawn from the rest by {by}"
        notes.append(f"the data set names no recordings for {' and '.join(missing)}: drawn by {by}")
    splits |= drawn
    clips = tuple(replace(each, split=splits[each.name], speaker=speakers[each.name]) for each in recordings)
    unknown = [clip.name for clip in clips if not clip.speaker and clip.word in labels]
    known = len(unknown) <= _FEW_UNKNOWN * sum(clip.word in labels for clip in clips)
    if unknown:
        so = "" if known else ", so the test figure does not hold for new voices"
        remedy = f"make a folder a speaker below each word, or give --speaker-pattern, or {' and '.join(_LISTS)}"
        notes.append(f"{len(unknown)} recordings do not say who speaks ({some(unknown)}){so}: {remedy}")
    return clips, rule, known


def _by_pattern(recordings: Sequence[Clip], pattern: str) -> dict[str, str]:
    """Each recording's speaker, empty where the pattern does not match."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UserError(f"--speaker-pattern '{pattern}' is no regular expression ({error}); correct it") from error
    found = {each.name: expression.search(each.below) for each in recordings}
    speakers = {name: (match[bool(expression.groups)] or "") if match else "" for name, match in found.items()}
    if not any(speakers.values()):
        raise UserError(f"--speaker-pattern '{pattern}' matches no recording, '{recordings[0].below}' say; correct it")
    return speakers


def _by_name(recordings: Sequence[Clip], notes: list[str]) -> dict[str, str]:
    """Each recording's speaker by the folder below its word's, or its name; empty where neither says one."""
    folders = {each.name: each.below.rpartition("/")[0].partition("/")[0] for each in recordings}
    different = {folders[each.name] for each in recordings if not each.word.startswith("_")} - {""}
    if different and len(different) < _FEWEST_SPEAKERS:
        notes.append(f"the folders below the words are too few to be speakers: {some(sorted(different), 5)}")
        different = set()
    speakers = {}
    for name, folder in folders.items():
        before, nohash, _ = name.rpartition("/")[2].partition("_nohash_")
        speakers[name] = folder if folder in different else before if nohash else ""
    return speakers


def _listed(recordings: Sequence[Clip], lists: Mapping[str, Path], notes: list[str]) -> dict[str, str]:
    """The splits that lists give to recordings, whatever folders are in front of a word's."""
    known: dict[str, list[str]] = defaultdict(list)
    for each in recordings:
        known[_key("/".join(each.name.split("/")[-2 - each.below.count("/") :]))].append(each.name)
    given: dict[str, str] = {}
    for list_name, path in lists.items():
        lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
        nobody = []
        for line in lines:
            key = _key(line.replace("\\", "/"))
            while key not in known and "/" in key:
                key = key.partition("/")[2]
            if key not in known:
                nobody.append(line)
            for name in known.get(key, ()):
                if given.setdefault(name, _LISTS[list_name]) != _LISTS[list_name]:
                    raise UserError(f"'{name}' is listed for validation and for testing; list it once")
        if nobody:
            notes.append(f"{len(nobody)} of {len(lines)} lines of {list_name} name no recording: {some(nobody)}")
    if given and all(official_split(name) == split for name, split in given.items()):  # the official lists
        rest = [each.name for each in recordings if "_nohash_" in each.name and each.name not in given]
        if held_out := [name for name in rest if official_split(name) in {_LISTS[name] for name in lists}]:
            so = "so they are trained on, though the official rule holds them out"
            remedy = "remove the lists to split all by that rule"
            notes.append(f"{len(held_out)} recordings are in no list, {so}: {some(held_out)}; {remedy}")
    return given


def _key(name: str) -> str:
    """A name as lists and folders may both write it: composed characters, without the suffix of a format."""
    name = unicodedata.normalize("NFC", name)
    return name.removesuffix(Path(name).suffix) if suffix_of(name) in AUDIO_SUFFIXES else name


def _percent(unit: str) -> float:
    hashed = int(hashlib.sha1(unit.encode(), usedforsecurity=False).hexdigest(), 16)
    return (hashed % (_MAX_WAVS_PER_CLASS + 1)) * (100.0 / _MAX_WAVS_PER_CLASS)


def _by_percent(percent: float, held: Sequence[str] = ("validation", "testing")) -> str:
    split = "validation" if percent < HELD_OUT else "testing" if percent < 2 * HELD_OUT else "training"
    return split if split in held else "training"


def _draw(
    recordings: Sequence[Clip], speakers: Mapping[str, str], missing: Sequence[str], labels: set[str]
) -> tuple[dict[str, str], bool]:
    """The splits of recordings, each ``missing`` one by the official rule; whether ranks had to decide.

    Where the rule leaves a keyword without clips in a split, as it may with few of them, the keywords' speakers (or
    the recordings of a word) are ranked by the same number and the first tenths taken, one at least.
    """
    percents = {each.name: _percent(speakers[each.name] or each.name.rpartition("/")[2]) for each in recordings}
    drawn = {name: _by_percent(percent, missing) for name, percent in percents.items()}
    there = {(each.word, drawn[each.name]) for each in recordings}
    present = {each.word for each in recordings} & labels
    if all((word, split) in there for word in present for split in ("training", *missing)):
        return drawn, False
    groups = {each.name: "" if speakers[each.name] else each.word for each in recordings}  # each ranked by itself
    found: dict[str, set[float]] = defaultdict(set)
    for each in recordings:
        if each.word in labels or not speakers[each.name]:
            found[groups[each.name]].add(percents[each.name])
    tenths = {
        (group, percent): HELD_OUT * (rank // max(1, round(len(of_group) * HELD_OUT / 100)))
        for group, of_group in found.items()
        for rank, percent in enumerate(sorted(of_group))
    }
    ranked = {name: tenths.get((groups[name], percent), percent) for name, percent in percents.items()}
    return {name: _by_percent(percent, missing) for name, percent in ranked.items()}, True
