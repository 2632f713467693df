"""Crops of running speech for training, half of them where the model was surest of a keyword that is not there: the
training pass itself finds these places, without an extra pass over the speech."""

import torch
from torch import Generator, Tensor, nn

from model.console import log
from model.corpus import Corpus
from model.features import FRAMES, Running, running_features
from model.settings import Settings

_BIN = 4  # frames that share a score
_SHARE = 0.03  # of the bins seen so far, the surest: the pool of hard crops
_FROM_EPOCH = 9  # before, the model knows too little


def of(corpus: Corpus, settings: Settings) -> "Crops":
    """The crops of a run's speech and of the user's own negatives; the features come from the cache, or go there."""
    paths = [one.path for one in corpus.speech.trained_on]
    running = running_features(paths, corpus.speech.digest, settings)
    for path, why in zip(paths, running.broken, strict=True):
        if why:
            log.warning("broken, left out: %s (%s)", path, why)
    return Crops(running, len(corpus.speech.negatives), settings.epochs // 3)


class Crops(nn.Module):
    """Draws crops, ``FRAMES`` frames from any frame of a recording; what is known of them is in the state to resume.
    The last ``late`` recordings have a part from the epoch after ``without`` on, unless there are no others."""

    def __init__(self, running: Running, late: int = 0, without: int = 0) -> None:
        super().__init__()
        self._power, counts = running.power, running.frames.flatten()
        ends, places = counts.cumsum(0), counts - FRAMES + 1
        usable = places > 0
        early = (usable & (torch.arange(len(counts)) < len(counts) - late * running.frames.shape[1])).sum()
        self.without = without if 0 < early < usable.sum() else 0  # epochs without the last recordings
        self._first, self._places = (ends - counts)[usable], places[usable]
        self._before = self._places.cumsum(0) - self._places  # crops of the recordings before
        self._early, self._all = int(self._places[:early].sum()), int(self._places.sum())
        self._drawn_from, self._pool = 0, torch.empty(0, dtype=torch.int64)
        bins = len(self._power) // _BIN + 1
        self.score = nn.Buffer(torch.full((bins,), -1.0))  # probability of a keyword; -1: not seen yet
        self.where = nn.Buffer(torch.zeros(bins, dtype=torch.int64))  # the frame of a bin that was seen last

    def begin(self, epoch: int) -> None:
        """Choose what an epoch draws from, and its hard crops."""
        self._drawn_from = self._early if epoch <= self.without else self._all
        count = int(_SHARE * int((self.score >= 0).sum())) if epoch >= _FROM_EPOCH else 0
        self._pool = self.where[self.score.topk(count).indices]

    def draw(self, hard: Tensor, generator: Generator) -> Tensor:
        """The first frames ``int64[n]`` of crops, moved by up to 3 from the pool's where ``hard``; 0 without speech."""
        if self._all == 0:
            return torch.zeros(len(hard), dtype=torch.int64)
        any_ = (torch.rand(len(hard), generator=generator, dtype=torch.float64) * self._drawn_from).long()
        recording = torch.searchsorted(self._before, any_, right=True) - 1
        starts = self._first[recording] + any_ - self._before[recording]
        if len(self._pool) == 0:
            return starts
        chosen = self._pool[torch.randint(len(self._pool), (len(hard),), generator=generator)]
        recording = torch.searchsorted(self._first, chosen, right=True) - 1
        last = self._first[recording] + self._places[recording] - 1
        moved = torch.minimum(chosen + torch.randint(0, _BIN, (len(hard),), generator=generator), last)
        return torch.where(hard, moved, starts)

    def read(self, starts: Tensor) -> Tensor:
        crops = self._power[starts[:, None] + torch.arange(FRAMES)]
        return crops.float().square_().transpose(1, 2)

    def tell(self, starts: Tensor, probabilities: Tensor) -> None:
        """How probable a keyword was in crops, as the network in training heard them."""
        bins = starts // _BIN
        former = self.score[bins]
        self.score[bins] = torch.where(former < 0, probabilities, (former + probabilities) / 2)
        self.where[bins] = starts
