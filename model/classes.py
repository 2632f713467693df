"""Which words a model tells apart, which it lumps together, and which it must never have heard. Standard library only.

The standard task of Speech Commands (Warden 2018, arXiv:1804.03209): the keywords, ``_unknown_`` for every other word,
``_silence_`` for no word at all. Beyond it, a few of the other words are held back from training altogether: how often
they are taken for a keyword is what a user meets, whose visitors say words that no data set has.
"""

import hashlib
from collections.abc import Iterable, Sequence

from model.data.layout import Clip
from model.errors import UserError
from model.settings import SILENCE, UNKNOWN, Settings

_MOST_UNSEEN = 6


def unseen_words(others: Iterable[str], settings: Settings) -> tuple[str, ...]:
    """The other words that are held back: a third of them, six at most, those whose names have the lowest SHA-1.

    Raises:
        UserError: the settings name a word that is not among the other words.
    """
    others = sorted(set(others))
    if settings.unseen_words is None:
        return tuple(sorted(sorted(others, key=_sha1)[: min(_MOST_UNSEEN, len(others) // 3)]))
    for word in settings.unseen_words:
        if word not in others:
            raise UserError(f"--unseen-words: the data set has no other word '{word}' (it has {', '.join(others)})")
    return settings.unseen_words


def class_names(settings: Settings, unknown: bool, silence: bool) -> tuple[str, ...]:
    """The model's classes in order, for a data set that has other words to train on, and noise, or not."""
    if settings.only_keywords:
        return settings.labels
    return (*settings.labels, *((UNKNOWN,) if unknown else ()), *((SILENCE,) if silence else ()))


def even_choice(clips: Sequence[Clip], count: int) -> tuple[Clip, ...]:
    """Up to ``count`` of the clips, evenly over their words, the same ones each time; sorted by name."""
    by_word: dict[str, list[Clip]] = {}
    for clip in sorted(clips, key=lambda clip: _sha1(clip.name)):
        by_word.setdefault(clip.word, []).append(clip)
    ranked = [(rank, _sha1(clip.name), clip) for row in by_word.values() for rank, clip in enumerate(row)]
    return tuple(sorted(clip for _, _, clip in sorted(ranked)[:count]))


def mean_count(clips: Iterable[Clip], labels: tuple[str, ...]) -> int:
    """How many clips a keyword has on average, rounded; what the shares of unknown and silence refer to."""
    return round(sum(clip.word in labels for clip in clips) / len(labels))


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
