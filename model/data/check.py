"""What a data set holds and what is wrong with it, before anything is trained on it.

Two things make a test worthless and fail the check: a *leak*, by which the test split knows what training has seen (a
speaker, or an identical recording, in two splits), and a label with too few clips to say anything about. All else is
counted and named.
"""

import hashlib
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kws.audio import SILENT_DBFS
from model.data.layout import SPLITS, Clip
from model.data.recording import CLIPPED_RUN, EXAMPLES, Audit, Found, read_clip
from model.data.source import DataSet
from model.settings import processors


def check(dataset: DataSet, min_clips: int = 10) -> dict[str, Any]:
    """Read every clip and judge the whole, as plain JSON values; ``passed`` and ``failures`` are the verdict.

    ``min_clips`` readable clips are asked of every label in every split.
    """
    audits, groups = _read(dataset)
    found = _leaks(dataset, groups)
    failures = [f"leak: {line}" for line in found["examples"]]
    if (more := found["speakers"] + found["recordings"] - len(failures)) > 0:
        failures.append(f"leak: and {more} more")
    counts = Counter((clip.word, clip.split) for clip in dataset.clips if not audits[clip.split][clip.name].broken)
    splits = {}
    for split, audit in audits.items():
        speakers = {clip.speaker for clip in dataset.of_split(split)} - {""}
        twice = sum(max(0, sum(clip.split == split for clip in group) - 1) for group in groups)
        splits[split] = {**audit.to_dict(), "speakers": len(speakers), "duplicate": twice}
        few = [f"{label} ({counts[label, split]})" for label in dataset.labels if counts[label, split] < min_clips]
        if few:
            where, or_ = f"in the {split} split: {', '.join(few)}", ", or lower --min-clips: training needs one"
            failures.append(f"fewer than {min_clips} readable clips {where}; record more people{or_ * (min_clips > 1)}")
    groups.sort(key=lambda group: group[0].word == group[-1].word)  # under two words first: one of them is wrong
    return {
        **{name: getattr(dataset, name) for name in ("name", "licence", "split_rule", "speakers_known")},
        "notes": list(dataset.notes),
        "labels": list(dataset.labels),
        "min_clips": min_clips,
        "words": {word: {split: counts[word, split] for split in SPLITS} for word, _ in sorted(counts)},
        "splits": splits,
        "duplicates": [[clip.name for clip in group] for group in groups[:EXAMPLES]],
        "leaks": found,
        "passed": not failures,
        "failures": failures,
    }


def leaks(dataset: DataSet) -> dict[str, Any]:
    """The numbers of ``speakers`` and of ``recordings`` (by their samples) in two splits; ``examples`` as lines."""
    return _leaks(dataset, _read(dataset)[1])


def render(check: dict[str, Any]) -> str:
    """The result of ``check`` as lines for a terminal."""
    kinds = (*Found._fields, "duplicate")
    lines = [f"{check['name']}; split by {check['split_rule']}; licence: {check['licence'] or 'not stated'}."]
    for split, found in check["splits"].items():
        counts = ", ".join(f"{found[kind]} {kind}" for kind in kinds)
        lines.append(f"{split}: {found['read']} clips of {found['speakers'] or 'unknown'} speakers; {counts}")
    lines.append(
        f"Padded, cut: shorter or longer than a second. Silent: below {SILENT_DBFS:.0f} dBFS. Clipped: {CLIPPED_RUN} "
        "samples or more at full scale in a row. Broken: not decodable or empty. Duplicate: as an earlier clip."
    )
    lines.append(f"Readable clips in {', '.join(SPLITS)}:")
    lines += [f"- {word}: {', '.join(map(str, counts.values()))}" for word, counts in check["words"].items()]
    lines += [f"note: {note}" for note in check["notes"]]
    lines += [f"the same recording: {', '.join(group)}" for group in check["duplicates"][:5]]
    broken = [each for found in check["splits"].values() for each in found["broken_clips"].items()]
    lines += [f"broken: {name} ({why})" for name, why in broken[:5]]
    passed = f"No leak; every label has {check['min_clips']} readable clips or more in every split."
    return "\n".join([*lines, *(check["failures"] or [passed])])


def _read(dataset: DataSet) -> tuple[dict[str, Audit], list[list[Clip]]]:
    """What is found in the clips of each split, and groups of clips with the same samples."""

    def read(clip: Clip) -> tuple[Found, bytes]:
        waveform, found = read_clip((dataset.root / clip.name).read_bytes())
        if waveform is None or not waveform.any():  # digital silence is nobody's recording
            return found, b""
        return found, hashlib.sha256(waveform.tobytes()).digest()

    audits, groups = {split: Audit() for split in SPLITS}, defaultdict[bytes, list[Clip]](list)
    with ThreadPoolExecutor(processors()) as pool:  # decoding happens in C, outside Python's lock
        for clip, (found, content) in zip(dataset.clips, pool.map(read, dataset.clips), strict=True):
            audits[clip.split][clip.name] = found
            groups[content].append(clip)
    return audits, [group for content, group in groups.items() if content and len(group) > 1]


def _leaks(dataset: DataSet, groups: list[list[Clip]]) -> dict[str, Any]:
    splits: dict[tuple[str, str], set[str]] = defaultdict(set)
    for clip in dataset.clips:
        if clip.speaker:
            splits["speaker", clip.speaker].add(clip.split)
    for group in groups:
        splits["recording", " = ".join(clip.name for clip in group[:3])] = {clip.split for clip in group}
    found = {key: [split for split in SPLITS if split in of_key] for key, of_key in splits.items() if len(of_key) > 1}
    counts = Counter(kind for kind, _ in found)
    lines = [f"{kind} '{name}' is in {' and '.join(of_key)}" for (kind, name), of_key in found.items()]
    return {"speakers": counts["speaker"], "recordings": counts["recording"], "examples": lines[:EXAMPLES]}
