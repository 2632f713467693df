"""What a data set holds and what is wrong with it, before anything is trained on it.

Two things make a test worthless and fail the check: a *leak*, by which the test split knows what training has seen (a
speaker, or an identical recording, in two splits), and a label with too few clips to say anything about. All else is
counted and named.
"""

import hashlib
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from model import audio, files
from model.data.layout import SPLITS, Clip, Layout
from model.data.source import Source, cache_root
from model.machine import processors
from model.markdown import padded_table
from model.settings import SAMPLE_RATE

log = logging.getLogger(__name__)

MIN_CLIPS = 10  # a label in each split
CLIPPED_RUN = 3  # samples in a row at full scale: what audio editors call clipped
_FULL_SCALE = 32767 / 32768
_EXAMPLES = 20  # names a finding
_RECIPE = 1  # raise it when the same data shall give other findings


@dataclass(frozen=True)
class Finding:
    """One clip as it was read; ``content`` names its samples and is empty for digital silence."""

    seconds: float
    clipped: bool
    silent: bool
    content: str
    broken: str = ""


def check(layout: Layout, source: Source, labels: Sequence[str], min_clips: int = MIN_CLIPS) -> dict[str, Any]:
    """Read every clip of ``layout`` and judge the whole.

    Returns:
        Plain JSON values; ``passed`` and ``failures`` (one line each) are the verdict. ``min_clips`` is asked of every
        label in every split, of readable clips.
    """
    with ThreadPoolExecutor(processors()) as pool:  # decoding happens in C, outside Python's lock
        findings = dict(zip(layout.clips, pool.map(lambda clip: _read(layout.root, clip), layout.clips), strict=True))
    speakers = _speakers_in_two_splits(layout.clips)
    groups = _identical(findings)
    leaked = [group for group in groups if len({clip.split for clip in group}) > 1]
    relabelled = [group for group in groups if len({clip.word for clip in group}) > 1]
    counts = Counter((clip.word, clip.split) for clip, finding in findings.items() if not finding.broken)
    failures = [
        *(_leak_line("speaker", name, splits) for name, splits in speakers.items()),
        *(_leak_line("recording", group[0].name, {clip.split for clip in group}) for group in leaked),
        *(
            f"label '{label}' has {counts[label, split]} readable clips in the {split} split, fewer than {min_clips}"
            for label in labels
            for split in SPLITS
            if counts[label, split] < min_clips
        ),
    ]
    return {
        "source": source.name,
        "licence": source.licence,
        "split_rule": layout.split_rule,
        "labels": list(labels),
        "min_clips": min_clips,
        "words": {
            word: {split: counts[word, split] for split in SPLITS} for word in sorted({clip.word for clip in findings})
        },
        "splits": {split: _split(split, findings, groups) for split in SPLITS},
        "clipped": _names(clip for clip, finding in findings.items() if finding.clipped),
        "silent": _names(clip for clip, finding in findings.items() if finding.silent),
        "broken": {clip.name: finding.broken for clip, finding in findings.items() if finding.broken},
        "duplicates": [_names(group) for group in groups[:_EXAMPLES]],
        "duplicates_under_two_words": [_names(group) for group in relabelled[:_EXAMPLES]],
        "leaks": {
            "speakers": {name: sorted(splits) for name, splits in list(speakers.items())[:_EXAMPLES]},
            "recordings": [_names(group) for group in leaked[:_EXAMPLES]],
        },
        "passed": not failures,
        "failures": failures,
    }


def cached(layout: Layout, source: Source, labels: Sequence[str], digest: str) -> dict[str, Any]:
    """``check`` with its default bound, or what it found before in the same data: ``digest`` names their content.

    Says in the log what failed.
    """
    key = hashlib.sha256(f"{digest} {source.name} {source.licence} {','.join(labels)} {_RECIPE}".encode()).hexdigest()
    path = cache_root() / "checks" / f"{key[:32]}.json"
    with files.locked(path.with_suffix(".lock")):
        if path.is_file():
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        else:
            found = check(layout, source, labels)
            files.write_whole(path, json.dumps(found).encode())
    for line in failure_lines(found, most=3):
        log.warning("data check failed: %s", line)
    return found


def _read(root: Path, clip: Clip) -> Finding:
    try:
        samples = audio.decode((root / clip.name).read_bytes())
    except audio.BrokenAudioError as error:
        return Finding(0.0, False, False, "", str(error))
    pcm = audio.to_pcm(samples)
    content = hashlib.sha256(pcm.tobytes()).hexdigest() if pcm.any() else ""
    silent = audio.is_silent(audio.fit(samples))
    return Finding(samples.size / SAMPLE_RATE, is_clipped(samples), silent, content)


def is_clipped(samples: audio.Samples) -> bool:
    """Whether ``float32[samples]`` has a run of ``CLIPPED_RUN`` samples or more at full scale."""
    full = np.abs(samples) >= _FULL_SCALE
    if full.sum() < CLIPPED_RUN:
        return False
    runs = np.convolve(full.astype(np.int8), np.ones(CLIPPED_RUN, np.int8), mode="valid")
    return bool((runs == CLIPPED_RUN).any())


def _speakers_in_two_splits(clips: Sequence[Clip]) -> dict[str, set[str]]:
    splits: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        splits[clip.speaker].add(clip.split)
    return {speaker: found for speaker, found in sorted(splits.items()) if len(found) > 1}


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
        "speakers": len({clip.speaker for clip in here}),
        "hours": sum(seconds) / 3600,
        "seconds": {"shortest": min(seconds), "median": median(seconds), "longest": max(seconds)} if seconds else {},
        "clipped": sum(finding.clipped for finding in here.values()),
        "silent": sum(finding.silent for finding in here.values()),
        "duplicate": sum(clip.split == split for group in groups for clip in group[1:]),
        "broken": sum(bool(finding.broken) for finding in here.values()),
    }


def _leak_line(what: str, name: str, splits: Iterable[str]) -> str:
    return f"leak: {what} '{name}' is in {' and '.join(split for split in SPLITS if split in set(splits))}"


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
    words: list[list[Any]] = [
        [label, *check["words"].get(label, dict.fromkeys(SPLITS, 0)).values()] for label in labels
    ]
    if others := {word: counts for word, counts in check["words"].items() if word not in labels}:
        words.append([f"{len(others)} other words", *(sum(c[split] for c in others.values()) for split in SPLITS)])
    parts = [
        f"{check['source']}; split by {check['split_rule']}; licence: {check['licence'] or 'not known'}.",
        padded_table(["split", *columns, "seconds (shortest / median / longest)", "hours"], rows),
        f"Clipped: {CLIPPED_RUN} or more samples in a row at full scale. Silent: below {audio.SILENT_DBFS:.0f} dBFS. "
        "Duplicate: the same samples as an earlier clip. Broken: not decodable or empty.",
        padded_table(["readable clips of", *SPLITS], words),
    ]
    for key, title in (
        ("duplicates", "The same recording"),
        ("duplicates_under_two_words", "The same recording under two words"),
    ):
        if check[key]:
            parts.append("\n".join(f"- {title}: {', '.join(group)}" for group in check[key][:5]))
    if check["broken"]:
        parts.append("\n".join(f"- Broken: {name} ({why})" for name, why in list(check["broken"].items())[:5]))
    if check["passed"]:
        parts.append(f"No leak; every label has {check['min_clips']} readable clips or more in every split.")
    return "\n\n".join([*parts, *failure_lines(check)])


def failure_lines(check: dict[str, Any], most: int = 10) -> list[str]:
    """What a person is told of a failed check: the first lines, and how many more there are."""
    failures = list(check["failures"])
    more = [f"and {len(failures) - most} more"] if len(failures) > most else []
    return failures[:most] + more
