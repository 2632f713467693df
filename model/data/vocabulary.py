"""Words for sentences that hold no keyword: ordinary ones, near ones, homophones. Standard library and numpy only."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from model.errors import UserError

if TYPE_CHECKING:
    import numpy as np

# Spoken alike: the ear itself cannot tell them apart.
HOMOPHONES = {
    "no": ("know",),
    "eight": ("ate",),
    "four": ("for", "fore"),
    "one": ("won",),
    "two": ("to", "too"),
    "right": ("write", "rite"),
}

# Share a vowel, an onset or a rhyme with a keyword, and stand in sentences on purpose.
NEAR = {
    "up": ("cup", "pup", "cut", "hop", "rub", "app"),
    "down": ("town", "dawn", "brown", "noun", "done", "doubt"),
    "yes": ("yet", "yeah", "yell", "guess", "chess", "jazz"),
    "no": ("nope", "note", "gnome", "now", "snow", "own"),
}
_ANY_NEAR = tuple(word for words in NEAR.values() for word in words)


def _listed(text: str) -> list[str]:
    """The items between commas, or else between spaces."""
    return text.split(", ") if "," in text else text.split()


_ADJECTIVES = _listed(
    "big small old young red green blue black white quick slow warm cold heavy light quiet loud bright dark "
    "clean dirty soft hard long short tall thin thick sweet bitter fresh dry wet empty full rich poor strong "
    "weak happy sad angry kind gentle clever brave lazy busy calm wild narrow wide deep shallow sharp smooth "
    "rough strange common rare modern ancient local foreign public private simple famous favourite wooden "
    "golden broken open careful"
)
_NOUNS = _listed(
    "dog cat bird horse cow sheep fish mouse rabbit bear teacher doctor farmer baker driver painter singer "
    "writer student child woman man boy girl mother father sister brother friend neighbour house garden kitchen "
    "window door table chair bed lamp clock mirror picture book letter paper pencil newspaper river lake "
    "mountain forest field road bridge station train bus car bicycle boat ship plane market shop school office "
    "hospital church village city street corner apple orange lemon bread butter cheese milk coffee tea sugar "
    "salt water soup dinner breakfast rain wind storm cloud sun moon star winter summer spring morning evening "
    "night week month year story song music dance game ball stone wall roof floor bottle basket box bag coat "
    "hat shoe shirt blanket pocket key coin ticket map camera radio computer machine engine wheel hammer button "
    "carpet candle leaf flower seed island beach harbour"
)
_PAST = _listed(
    "saw found took brought bought sold made built opened closed moved carried held watched followed passed "
    "painted cleaned repaired dropped lost kept remembered forgot loved liked wanted needed called asked "
    "answered heard met helped visited chose caught threw washed covered counted described expected finished "
    "shared"
)
_VERBS = _listed(
    "see find take bring buy sell make build open close move carry hold watch follow pass paint clean repair "
    "drop lose keep remember forget love like want need call ask answer hear meet help visit choose catch throw "
    "wash cover"
)
_PLACES = _listed(
    "in near behind beside under above across around through along between past outside inside against before after"
)
_TIMES = _listed(
    "today, tomorrow, last week, in the morning, every evening, at night, in the summer, after lunch, before "
    "dinner, this year, at the weekend, on Monday, on Thursday, later, again, in the end, by chance, at last, "
    "most of the time, in April"
)
_NAMES = _listed("Anna Ben Carla David Emma Frank Grace Henry Irene Jack Kate Liam Maria Oliver Peter Rosa Sam Tina")
_OPENINGS = ("", "", "", "I think ", "Perhaps ", "Of course ", "We heard that ", "They said that ", "It seems that ")

_SLOTS = {
    "adjective": _ADJECTIVES,
    "noun": _NOUNS,
    "past": _PAST,
    "verb": _VERBS,
    "place": _PLACES,
    "time": _TIMES,
    "name": _NAMES,
}

# {near} stands once in most of them, {homophone} in a few.
_TEMPLATES = (
    "{name} {past} the {adjective} {noun} {place} the {noun}",
    "the {adjective} {noun} and the {noun} {past} a {noun} {time}",
    "{time} we {past} {name}'s {noun} {place} a {adjective} {noun}",
    "can {name} {verb} the {noun}, or shall I {verb} it {time}",
    "my {noun} is as {adjective} as a {noun} {place} the {near}",
    "the {near} of the {noun} was {adjective} {time}",
    "{near}, said {name}, the {noun} {past} it {time}",
    "please {verb} the {near} {place} the {adjective} {noun}",
    "{name} had a {near} and a {noun}, but {past} the {near}",
    "it is {adjective} {time}, and {near} is what they {verb}",
    "the {noun} that {name} {past} was the {adjective} {near}",
    "there is a {adjective} {near} {place} the {noun} where children {verb}",
    "many people {verb} {adjective} {noun}s, and some {verb} the {near}",
    "he said {near}, then {near}, and {past} the {noun}",
    "I {homophone} that the {noun} is {adjective}",
    "do you {homophone} what {name} {past} {time}",
)


# They hold the spoken keyword; a word where only letters agree (north, supper) does not.
_COMPOUNDS = {
    "up": ("upon", "upper", "upside", "upstairs", "update", "upset", "upright", "uphill", "setup", "makeup", "backup"),
    "down": ("download", "downstairs", "downtown", "downhill", "breakdown", "sundown", "countdown"),
    "yes": ("yesterday", "yessir"),
    "no": ("nobody", "nowhere", "casino", "piano", "noble", "notable", "notice", "noticed", "noon"),
}
_INFLECTIONS = "(s|es|ed|d|ing|er|ped|ping|ward|wards|'s)?"


def is_left_out(word: str, labels: Iterable[str]) -> bool:
    """Whether a word is a keyword, an inflection of one (``ups``, ``downed``), or holds it (``upstairs``)."""
    lower = word.lower()
    return any(
        re.fullmatch(re.escape(label) + _INFLECTIONS, lower) or lower in _COMPOUNDS.get(label, ()) for label in labels
    )


def homophone_of(word: str, labels: Iterable[str]) -> str:
    """The label that a word sounds like, or an empty string."""
    return next((label for label in labels if word.lower() in HOMOPHONES.get(label, ())), "")


def words_of(text: str) -> list[str]:
    """The words of a text, without its marks."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text)


def sentence(labels: tuple[str, ...], rng: "np.random.Generator") -> str:
    """A sentence without ``labels``; with their homophones in a few.

    Raises:
        UserError: the labels leave no words to make one from.
    """

    def free(text: str) -> bool:
        return not any(is_left_out(word, labels) for word in words_of(text))

    same = [word for label in labels for word in HOMOPHONES.get(label, ())]
    near = [word for label in labels for word in NEAR.get(label, ())] or list(_ANY_NEAR)
    slots = {**_SLOTS, "near": near, "homophone": same}
    choices = {slot: [words for words in several if free(words)] for slot, several in slots.items()}
    templates = [
        template
        for template in _TEMPLATES
        if free(re.sub(r"\{\w+\}", "", template)) and all(choices[slot] for slot in re.findall(r"\{(\w+)\}", template))
    ]
    openings = [words for words in _OPENINGS if free(words)]
    if not templates:
        raise UserError(f"--labels {','.join(labels)} leave no sentence without them; use less common words")
    text = str(rng.choice(openings)) + str(rng.choice(templates))
    text = re.sub(r"\{(\w+)\}", lambda slot: str(rng.choice(choices[slot[1]])), text)
    return text[0].upper() + text[1:] + str(rng.choice([".", ".", "?", "!"]))
