"""Which clips an epoch trains on: all of the keywords, and of the large rest as much as one keyword has."""

import torch
from torch import Generator, Tensor

from model.dataset import Split
from model.settings import SILENCE, UNKNOWN, Settings

NO_CLIP = -1  # silence: made from noise, batch by batch


class Sampler:
    """Draws an epoch's clips from the training split.

    Every keyword clip once; other words ``unknown_share`` times as often as a keyword has clips on average, evenly over
    the words, however many clips each has; silence ``silence_share`` times as often.
    """

    def __init__(self, split: Split, labels: tuple[str, ...], settings: Settings) -> None:
        rows: dict[str, list[int]] = {}
        for row, clip in enumerate(split.clips):
            rows.setdefault(clip.word, []).append(row)
        self._keywords = torch.tensor([row for word in settings.labels for row in rows[word]])
        self._others = [torch.tensor(rows[word]) for word in sorted(rows) if word not in settings.labels]
        mean = len(self._keywords) / len(settings.labels)
        self._unknown = max(1, round(settings.unknown_share * mean)) if UNKNOWN in labels else 0
        self._silence = max(1, round(settings.silence_share * mean)) if SILENCE in labels else 0

    def __len__(self) -> int:
        return len(self._keywords) + self._unknown + self._silence

    def epoch(self, generator: Generator) -> Tensor:
        """The rows of the split for one epoch in random order, ``int64[len(self)]``; ``NO_CLIP`` stands for silence."""
        unknown = self._draw_unknown(generator)
        rows = torch.cat([self._keywords, unknown, torch.full((self._silence,), NO_CLIP)])
        return rows[torch.randperm(len(rows), generator=generator)]

    def _draw_unknown(self, generator: Generator) -> Tensor:
        """As many clips of each word, a word's clips all once before any comes again."""
        if not self._unknown:
            return torch.empty(0, dtype=torch.int64)
        words = torch.randperm(len(self._others), generator=generator).tolist()  # who gives one more than others
        drawn = []
        for rank, word in enumerate(words):
            count = self._unknown // len(words) + (rank < self._unknown % len(words))
            rows = self._others[word]
            rounds = -(-count // len(rows))
            order = torch.cat([torch.randperm(len(rows), generator=generator) for _ in range(rounds)] or [rows[:0]])
            drawn.append(rows[order[:count]])
        return torch.cat(drawn)
