"""What a data set holds and what is wrong with it, before anything is trained on it.

Two things make a test worthless and fail the check: a *leak*, which is a speaker or an identical recording in two
splits, and a label with too few clips to say anything about. All else is counted and named.
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

MOST = 5  # examples that are named


def check(dataset: DataSet, min_clips: int = 10) -> tuple[list[str], list[str]]:
    """Read every clip and judge the whole: what was found, and what fails, a line each.

    ``min_clips`` readable clips are asked of every label in every split.
    """
    audits, groups = _read(dataset)
    leaked = leaks(dataset, groups)
    failures = [f"leak: {line}" for line in leaked["examples"]]
    if more := leaked["speakers"] + leaked["recordings"] - len(failures):
        failures.append(f"leak: and {more} more")
    counts = Counter((clip.word, clip.split) for clip in dataset.clips if not audits[clip.split][clip.name].broken)
    lines = [f"{dataset.name}; split by {dataset.split_rule}; licence: {dataset.licence or 'not stated'}."]
    for split, audit in audits.items():
        speakers = {clip.speaker for clip in dataset.of_split(split)} - {""}
        found = ", ".join(f"{len(audit.named(kind))} {kind}" for kind in Found._fields)
        twice = sum(max(0, sum(clip.split == split for clip in group) - 1) for group in groups)
        of = f"{split}: {len(audit)} clips of {len(speakers) or 'unknown'} speakers"
        lines.append(f"{of}; {found}, {twice} duplicate")
        if few := [f"{label} ({counts[label, split]})" for label in dataset.labels if counts[label, split] < min_clips]:
            where, or_ = f"in the {split} split: {', '.join(few)}", ", or lower --min-clips: training needs one"
            failures.append(f"fewer than {min_clips} readable clips {where}; record more people{or_ * (min_clips > 1)}")
    lines.append(
        f"Padded, cut: shorter or longer than a second. Silent: below {SILENT_DBFS:.0f} dBFS. Clipped: {CLIPPED_RUN} "
        "samples or more at full scale in a row. Broken: not decodable or empty. Duplicate: as an earlier clip."
    )
    lines.append(f"Readable clips in {', '.join(SPLITS)}:")
    words = sorted({word for word, _ in counts})
    lines += [f"- {word}: {', '.join(str(counts[word, split]) for split in SPLITS)}" for word in words]
    lines += [f"note: {note}" for note in dataset.notes]
    groups.sort(key=lambda group: group[0].word == group[-1].word)  # under two words first: one of them is wrong
    lines += [f"the same recording: {', '.join(clip.name for clip in group)}" for group in groups[:MOST]]
    for kind in ("silent", "clipped", "broken"):
        named = [(name, audit[name].broken) for audit in audits.values() for name in audit.named(kind)]
        lines += [f"{kind}: {name} ({why or 'used all the same'})" for name, why in named[:MOST]]
    passed = f"No leak; every label has {min_clips} readable clips or more in every split."
    return [*lines, *(failures or [passed])], failures


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


def leaks(dataset: DataSet, groups: list[list[Clip]] | None = None) -> dict[str, Any]:
    """The numbers of ``speakers`` and of ``recordings`` (by their samples) in two splits; ``examples`` as lines."""
    splits: dict[tuple[str, str], set[str]] = defaultdict(set)
    for clip in dataset.clips:
        splits["speaker", clip.speaker].add(clip.split)
    splits.pop(("speaker", ""), None)
    for group in _read(dataset)[1] if groups is None else groups:
        splits["recording", " = ".join(clip.name for clip in group[:3])] = {clip.split for clip in group}
    found = {key: sorted(of_key, key=SPLITS.index) for key, of_key in splits.items() if len(of_key) > 1}
    counts = Counter(kind for kind, _ in found)
    lines = [f"{kind} '{name}' is in {' and '.join(of_key)}" for (kind, name), of_key in found.items()]
    return {"speakers": counts["speaker"], "recordings": counts["recording"], "examples": lines[:EXAMPLES]}
