"""Who speaks in a recording, and which split it belongs to.

A data set's own division or lists decide where they are there; elsewhere the rule of Speech Commands (Warden 2018,
arXiv:1804.03209), by which a speaker's recordings stay together and in the same split when others are added.
"""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from model.data.layout import AUDIO_SUFFIXES, TESTING_LIST, VALIDATION_LIST, Clip, Layout, read_text, some
from model.errors import UserError

HELD_OUT = 10.0  # per cent for validation, and as many for testing
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
    clips, labels = layout.clips, set(layout.labels)
    speakers = _speakers(clips, speaker_pattern, notes)
    clips = [clip._replace(speaker=speaker) for clip, speaker in zip(clips, speakers, strict=True)]
    lists = {name: layout.texts[name] for name in _LISTS if name in layout.texts}
    if splits := {clip.name: clip.split for clip in clips if clip.split}:
        held, rule = set(splits.values()), "folders of the data set"
        if lists:
            notes.append(f"the folders divide the data set; its {' and '.join(lists)} are not used")
    else:
        held, rule = {_LISTS[name] for name in lists}, "lists of the data set"
        splits = _listed(clips, lists, notes)
    rest = [clip for clip in clips if splits.get(clip.name, "training") == "training"]
    missing = [split for split in ("validation", "testing") if split not in held and rest]
    drawn, ranked = _draw(rest, missing, labels)
    unit = "speakers'" if any(speakers) else "recordings'"
    by = f"the {unit} names ({'rank of the ' * ranked}SHA-1{'' if held or ranked else ', the official rule'})"
    if not held:
        rule = by
    elif missing:
        rule += f"; {' and '.join(missing)} drawn from the rest by {by}"
        notes.append(f"the data set names no recordings for {' and '.join(missing)}: drawn by {by}")
    splits |= drawn
    unknown = [clip.name for clip in clips if not clip.speaker and clip.word in labels]
    known = len(unknown) <= _FEW_UNKNOWN * sum(clip.word in labels for clip in clips)
    if unknown:
        so = ", so the test figure does not hold for new voices" * (not known)
        remedy = f"make a folder a speaker below each word, or give --speaker-pattern, or {' and '.join(_LISTS)}"
        notes.append(f"{len(unknown)} recordings do not say who speaks ({some(unknown)}){so}: {remedy}")
    return tuple(clip._replace(split=splits[clip.name]) for clip in clips), rule, known


def _speakers(clips: Sequence[Clip], pattern: str, notes: list[str]) -> list[str]:
    """Who speaks, by the pattern, or by the folder below a word's and the file's name; empty where nothing says it."""
    if pattern:
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise UserError(f"--speaker-pattern '{pattern}' is no regular expression ({error}); correct it") from error
        matches = [expression.search(clip.below) for clip in clips]
        speakers = [(match[bool(expression.groups)] or "") if match else "" for match in matches]
        if not any(speakers):
            raise UserError(f"--speaker-pattern '{pattern}' matches no recording, '{clips[0].below}' say; correct it")
        return speakers

    folders = {clip.speaker for clip in clips if not clip.word.startswith("_")} - {""}
    if folders and len(folders) < _FEWEST_SPEAKERS:
        notes.append(f"the folders below the words are too few to be speakers: {some(sorted(folders), 5)}")
        folders = set()
    names = [Path(clip.name).name.partition("_nohash_") for clip in clips]
    by_name = [before if nohash else "" for before, nohash, _ in names]
    return [clip.speaker if clip.speaker in folders else name for clip, name in zip(clips, by_name, strict=True)]


def _listed(clips: Sequence[Clip], lists: Mapping[str, Path], notes: list[str]) -> dict[str, str]:
    """The splits that lists give to clips, whatever folders are in front of a word's."""
    known: dict[str, list[str]] = defaultdict(list)
    for clip in clips:
        known[_key("/".join(clip.name.split("/")[-2 - clip.below.count("/") :]))].append(clip.name)
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
        of_lists = {_LISTS[name] for name in lists}
        rest = [clip.name for clip in clips if "_nohash_" in clip.name and clip.name not in given]
        if held_out := [name for name in rest if official_split(name) in of_lists]:
            told = "recordings are in no list, so they are trained on, though the official rule holds them out"
            notes.append(f"{len(held_out)} {told}: {some(held_out)}; remove the lists to split all by that rule")
    return given


def _key(name: str) -> str:
    """A name as lists and folders may both write it: composed characters, without the suffix of a format."""
    name = unicodedata.normalize("NFC", name)
    suffix = Path(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in AUDIO_SUFFIXES else name


def _percent(unit: str) -> float:
    hashed = int(hashlib.sha1(unit.encode(), usedforsecurity=False).hexdigest(), 16)
    return hashed % 2**27 * (100.0 / (2**27 - 1))  # the constants of the data set's own README


def _by_percent(percent: float, held: Sequence[str] = ("validation", "testing")) -> str:
    split = "validation" if percent < HELD_OUT else "testing" if percent < 2 * HELD_OUT else "training"
    return split if split in held else "training"


def _draw(clips: Sequence[Clip], missing: Sequence[str], labels: set[str]) -> tuple[dict[str, str], bool]:
    """The splits of clips by their names, each ``missing`` one by the official rule; whether ranks had to decide.

    Where the rule leaves a keyword without clips in a split, as it may with few of them, the keywords' speakers (or
    the clips of a word) are ranked by the same number and the first tenths taken, one at least.
    """
    units = {clip.name: ("", clip.speaker) if clip.speaker else (clip.word, Path(clip.name).name) for clip in clips}
    percents = {unit: _percent(unit[1]) for unit in units.values()}
    drawn = {name: _by_percent(percents[unit], missing) for name, unit in units.items()}
    there = {(clip.word, drawn[clip.name]) for clip in clips if clip.word in labels}
    if all((word, split) in there for word, _ in there for split in ("training", *missing)):
        return drawn, False
    ranked = {units[clip.name] for clip in clips if clip.word in labels or not clip.speaker}
    for word in {word for word, _ in ranked}:  # or all speakers together
        order = sorted((percents[unit], unit) for unit in ranked if unit[0] == word)
        tenth = max(1, round(len(order) * HELD_OUT / 100))
        percents |= {unit: HELD_OUT * (rank // tenth) for rank, (_, unit) in enumerate(order)}
    return {name: _by_percent(percents[unit], missing) for name, unit in units.items()}, True
