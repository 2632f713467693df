"""What a data set holds and what is wrong with it, before anything is trained on it.

Two things make a test worthless and fail the check: a *leak*, by which the test split knows what training has seen (a
speaker, or an identical recording, in two splits), and a label with too few clips to say anything about. All else is
counted and named.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from statistics import median
from typing import Any

import numpy as np

from kws.audio import SAMPLE_RATE, SILENT_DBFS, AudioError, Waveform, decode
from model import files
from model.data.digest import digest_of
from model.data.layout import SPLITS, Clip
from model.data.recording import fit, is_silent, to_pcm
from model.data.source import DataSet, cache_root
from model.markdown import padded_table
from model.settings import processors

MIN_CLIPS = 10  # a label in each split
CLIPPED_RUN = 3  # samples in a row at full scale: what audio editors call clipped
_FULL_SCALE = 32767 / 32768
_EXAMPLES = 20  # names a finding
_RECIPE = 1  # raise it when the same recordings shall give other findings


@dataclass(frozen=True)
class Finding:
    """One clip as it was read; ``content`` names its samples and is empty for digital silence."""

    seconds: float = 0.0
    clipped: bool = False
    silent: bool = False
    content: str = ""
    broken: str = ""


def check(dataset: DataSet, min_clips: int = MIN_CLIPS) -> dict[str, Any]:
    """Read every clip and judge the whole.

    Returns:
        Plain JSON values; ``passed`` and ``failures`` (one line each) are the verdict. ``min_clips`` is asked of every
        label in every split, of readable clips.
    """
    findings = _findings(dataset)
    groups = _identical(findings)
    found = leaks(dataset)
    counts = Counter((clip.word, clip.split) for clip, finding in findings.items() if not finding.broken)
    more = found["speakers"] + found["recordings"] - len(found["examples"])
    failures = [
        *(f"leak: {example}" for example in found["examples"]),
        *([f"leak: and {more} more"] if more else []),
        *(
            f"label '{label}' has {counts[label, split]} readable clips in the {split} split, fewer than {min_clips}"
            for label in dataset.labels
            for split in SPLITS
            if counts[label, split] < min_clips
        ),
    ]
    return {
        "source": dataset.name,
        "licence": dataset.licence,
        "split_rule": dataset.split_rule,
        "speakers_known": dataset.speakers_known,
        "notes": list(dataset.notes),
        "labels": list(dataset.labels),
        "min_clips": min_clips,
        "words": {
            word: {split: counts[word, split] for split in SPLITS} for word in sorted({c.word for c in findings})
        },
        "splits": {split: _split(split, findings, groups) for split in SPLITS},
        "clipped": [clip.name for clip, finding in findings.items() if finding.clipped],
        "silent": [clip.name for clip, finding in findings.items() if finding.silent],
        "broken": {clip.name: finding.broken for clip, finding in findings.items() if finding.broken},
        "duplicates": [_names(group) for group in groups[:_EXAMPLES]],
        "duplicates_under_two_words": [_names(group) for group in groups if len({c.word for c in group}) > 1][
            :_EXAMPLES
        ],
        "leaks": found,
        "passed": not failures,
        "failures": failures,
    }


def leaks(dataset: DataSet) -> dict[str, Any]:
    """Count the speakers, and the recordings (by their samples), that are in two splits.

    Returns:
        ``speakers`` and ``recordings`` with their numbers, ``examples`` as lines. Speakers that are not known
        (``DataSet.speakers_known``) cannot be counted.
    """
    splits: dict[str, set[str]] = defaultdict(set)
    for clip in dataset.clips:
        if clip.speaker:
            splits[clip.speaker].add(clip.split)
    speakers = [(name, found) for name, found in sorted(splits.items()) if len(found) > 1]
    groups = [(group, {clip.split for clip in group}) for group in _identical(_findings(dataset))]
    recordings = [(" = ".join(_names(group)[:3]), found) for group, found in groups if len(found) > 1]
    lines = [
        f"{what} '{name}' is in {' and '.join(split for split in SPLITS if split in found)}"
        for what, leaked in (("speaker", speakers), ("recording", recordings))
        for name, found in leaked[:_EXAMPLES]
    ]
    return {"speakers": len(speakers), "recordings": len(recordings), "examples": lines}


def _findings(dataset: DataSet) -> dict[Clip, Finding]:
    """Each clip of a data set as it was read, now or when its content was last seen."""
    names = [clip.name for clip in dataset.clips]
    decoders = " ".join(f"{name} {version(name)}" for name in ("soundfile", "soxr", "numpy"))
    content = digest_of(dataset.root, names, "check", processors())
    key = hashlib.sha256(f"{_RECIPE} {decoders} {content}".encode()).hexdigest()
    path = cache_root() / "findings" / f"{key[:32]}.json"
    try:
        found = [Finding(**each) for each in json.loads(path.read_text(encoding="utf-8"))]
        return dict(zip(dataset.clips, found, strict=True))
    except (OSError, ValueError, TypeError):
        pass  # not there, or not whole: read the clips
    with ThreadPoolExecutor(processors()) as pool:  # decoding happens in C, outside Python's lock
        found = list(pool.map(lambda clip: _read((dataset.root / clip.name).read_bytes()), dataset.clips))
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(path, json.dumps([asdict(each) for each in found]).encode())
    return dict(zip(dataset.clips, found, strict=True))


def _read(data: bytes) -> Finding:
    try:
        samples = decode(data).waveform
    except AudioError as error:
        return Finding(broken=error.detail.rstrip("."))
    pcm = to_pcm(samples)
    content = hashlib.sha256(pcm.tobytes()).hexdigest()[:32] if pcm.any() else ""
    return Finding(samples.size / SAMPLE_RATE, is_clipped(samples), is_silent(fit(samples)), content)


def is_clipped(samples: Waveform) -> bool:
    """Whether ``float32[samples]`` has a run of ``CLIPPED_RUN`` samples or more at full scale."""
    full = np.abs(samples) >= _FULL_SCALE
    if full.sum() < CLIPPED_RUN:
        return False
    runs = np.convolve(full.astype(np.int8), np.ones(CLIPPED_RUN, np.int8), mode="valid")
    return bool((runs == CLIPPED_RUN).any())


def _identical(findings: dict[Clip, Finding]) -> list[list[Clip]]:
    """Groups of clips with the same samples; digital silence is nobody's recording and left out."""
    by_content: dict[str, list[Clip]] = defaultdict(list)
    for clip, finding in findings.items():
        if finding.content:
            by_content[finding.content].append(clip)
    return [group for group in by_content.values() if len(group) > 1]


def _split(split: str, findings: dict[Clip, Finding], groups: list[list[Clip]]) -> dict[str, Any]:
    here = {clip: finding for clip, finding in findings.items() if clip.split == split}
    seconds = [finding.seconds for finding in here.values() if not finding.broken]
    return {
        "clips": len(here),
        "speakers": len({clip.speaker for clip in here} - {""}),
        "hours": sum(seconds) / 3600,
        "seconds": {"shortest": min(seconds), "median": median(seconds), "longest": max(seconds)} if seconds else {},
        "clipped": sum(finding.clipped for finding in here.values()),
        "silent": sum(finding.silent for finding in here.values()),
        "duplicate": sum(clip.split == split for group in groups for clip in group[1:]),
        "broken": sum(bool(finding.broken) for finding in here.values()),
    }


def _names(clips: Iterable[Clip]) -> list[str]:
    return [clip.name for clip in clips]


def render(check: dict[str, Any]) -> str:
    """The result of ``check`` as Markdown that also reads well on a terminal, without a heading."""
    labels, columns = check["labels"], ["clips", "speakers", "clipped", "silent", "duplicate", "broken"]
    rows = []
    for name, split in check["splits"].items():
        seconds = split["seconds"]
        lengths = f"{seconds['shortest']:.2f} / {seconds['median']:.2f} / {seconds['longest']:.2f}" if seconds else "-"
        rows.append([name, *(split[column] for column in columns), lengths, f"{split['hours']:.2f}"])
    words = [[label, *check["words"].get(label, dict.fromkeys(SPLITS, 0)).values()] for label in labels]
    if others := {word: counts for word, counts in check["words"].items() if word not in labels}:
        words.append([f"{len(others)} other words", *(sum(c[split] for c in others.values()) for split in SPLITS)])
    notes = [
        *check["notes"],
        *(f"the same recording: {', '.join(group)}" for group in check["duplicates"][:5]),
        *(f"the same recording under two words: {', '.join(g)}" for g in check["duplicates_under_two_words"][:5]),
        *(f"broken: {name} ({why})" for name, why in list(check["broken"].items())[:5]),
    ]
    parts = [
        f"{check['source']}; split by {check['split_rule']}; licence: {check['licence'] or 'not stated'}.",
        padded_table(["split", *columns, "seconds (shortest / median / longest)", "hours"], rows),
        f"Clipped: {CLIPPED_RUN} or more samples in a row at full scale. Silent: below {SILENT_DBFS:.0f} dBFS. "
        "Duplicate: the same samples as an earlier clip. Broken: not decodable or empty.",
        padded_table(["readable clips of", *SPLITS], words),
        *(["\n".join(f"- {note}" for note in notes)] if notes else []),
    ]
    if check["passed"]:
        parts.append(f"No leak; every label has {check['min_clips']} readable clips or more in every split.")
    return "\n\n".join([*parts, *failure_lines(check)])


def failure_lines(check: dict[str, Any], most: int = 10) -> list[str]:
    """What a person is told of a failed check: the first lines, and how many more there are."""
    failures = list(check["failures"])
    more = [f"and {len(failures) - most} more"] if len(failures) > most else []
    return failures[:most] + more
