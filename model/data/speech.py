"""Long speech of the user's with transcripts: hours without keywords from real voices, LibriSpeech say.

A folder, searched to any depth, of .wav and .flac files. The transcript of ``NAME.flac`` is ``NAME.txt`` beside it, or
its line in a ``*.trans.txt`` of the same folder (LibriSpeech's form: the name, a space, the words). A file whose
transcript holds a keyword is left out, as in Picovoice's wake-word benchmark; so is one without a transcript.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model import audio
from model.data import vocabulary
from model.data.layout import AUDIO_SUFFIXES
from model.data.streams import Stream, stream_of
from model.errors import UserError

log = logging.getLogger(__name__)

KIND = "speech"


@dataclass(frozen=True)
class Speech:
    """Files that hold no keyword; iterated over, a stream each, decoded one at a time.

    Raises:
        UserError: a file is broken.
    """

    paths: tuple[Path, ...]

    def __iter__(self) -> Iterator[Stream]:
        for path in self.paths:
            try:
                yield stream_of(KIND, audio.decode(path.read_bytes()))
            except audio.BrokenAudioError as error:
                raise UserError(f"--speech: '{path}' is broken ({error}); replace or remove it") from error


def find(folder: Path, labels: Sequence[str]) -> Speech:
    """The recordings below a folder that hold none of ``labels``.

    Homophones cannot be told apart by their times here, as a transcript has none: a file that holds one is left out.

    Raises:
        UserError: no such folder, no audio with a transcript in it, or none that is free of the keywords.
    """
    if not folder.is_dir():
        raise UserError(f"--speech '{folder}' is not a folder; give one with recordings and their transcripts")
    lines = _lines(folder)
    if not lines:
        raise UserError(
            f"--speech '{folder}' has no .wav or .flac file with a transcript (NAME.txt beside it, or *.trans.txt)"
        )
    kept = tuple(path for path, text in lines if not _holds(text, labels))
    if not kept:
        raise UserError(f"--speech '{folder}': every transcript holds a keyword or its homophone; give more speech")
    log.info("speech: %d of %d files hold no keyword", len(kept), len(lines))
    return Speech(kept)


def _holds(text: str, labels: Sequence[str]) -> bool:
    words = vocabulary.words_of(text)
    return any(vocabulary.is_left_out(word, labels) or vocabulary.homophone_of(word, labels) for word in words)


def _lines(folder: Path) -> list[tuple[Path, str]]:
    """Each file that has a transcript, with it."""
    shared: dict[Path, dict[str, str]] = {}
    lines = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()):
        own = path.with_suffix(".txt")
        if own.is_file():
            lines.append((path, own.read_text(encoding="utf-8")))
            continue
        if path.parent not in shared:
            shared[path.parent] = _shared_transcripts(path.parent)
        text = shared[path.parent].get(path.stem)
        if text is not None:
            lines.append((path, text))
    return lines


def _shared_transcripts(folder: Path) -> dict[str, str]:
    """``*.trans.txt``: a name, then what is said, a line."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.trans.txt")))
    return {match[1]: match[2] for match in re.finditer(r"^(\S+)[ \t]+(.*)$", text, re.MULTILINE)}
