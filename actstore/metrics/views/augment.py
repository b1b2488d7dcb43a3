"""Views of a text: the text with some words split and some characters mistyped.

Three kinds of change, one after the other, each in its own draw of words: a word is split in two
(SplitAug), characters become random ones (RandomCharAug), characters become neighbours on the
keyboard (KeyboardAug). These and their amounts are what the Layer by Layer experiments had from
nlpaug 1.1.11 (its last release, of 2022): 30 % of the words, at least 1 and at most 10, of those
with 4 characters or more; 30 % of a word's characters, at least 1 and at most 10.

Differences: every draw follows from the text, the view and the seed (nlpaug's are not
reproducible); a word is a run of letters and digits, and white space and punctuation stay as they
are (nlpaug sets single spaces); a split word has characters on both sides; the view is the text
alone (the paper's code embeds Python's rendering of a list, brackets and quotes included).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from random import Random

AUGMENTER = "split, random characters, keyboard"
"""What the augmenter is called in view sets."""
VERSION = 1
"""Changes when views of the same text and seed do."""

_SHARE, _MOST, _SHORTEST = 0.3, 10, 4
_WORD = re.compile(r"\w+")
_ANY = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!@#$%^&*()_+"
_ROWS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")
"""Of a US keyboard, each half a key further right than the one above."""


def augment(text: str, view: int, seed: int = 0) -> str:
    """One view of a text: the same for the same text, view and seed, on any machine.

    A text without a word of 4 characters is its own view. Never shorter than the text.
    """
    rng = _generator(text, view, seed)
    for change in (_split, _mistype(_random), _mistype(_neighbour)):
        text = _change_words(text, change, rng)
    return text


def views_of(texts: Sequence[str], n_views: int, seed: int = 0) -> list[list[str]]:
    """The first views of each text: (text, view). More views begin with the same ones."""
    return [[augment(text, view, seed) for view in range(n_views)] for text in texts]


def _generator(text: str, view: int, seed: int) -> Random:
    """Only its `random()` is used: the one method that Python keeps the same for ever."""
    key = f"{VERSION}/{seed}/{view}/".encode() + text.encode("utf-8", "surrogatepass")
    return Random(int.from_bytes(hashlib.blake2b(key, digest_size=32).digest()))


def _change_words(text: str, change: Callable[[str, Random], str], rng: Random) -> str:
    """The text with some of its longer words changed."""
    words = list(_WORD.finditer(text))
    longer = [word for word in words if len(word[0]) >= _SHORTEST]
    parts, end = [], 0
    for index in _draw(len(longer), _amount(len(words)), rng):
        word = longer[index]
        parts += [text[end : word.start()], change(word[0], rng)]
        end = word.end()
    return "".join([*parts, text[end:]])


def _split(word: str, rng: Random) -> str:
    place = 1 + _below(len(word) - 1, rng)
    return f"{word[:place]} {word[place:]}"


def _mistype(key: Callable[[str, Random], str]) -> Callable[[str, Random], str]:
    """Some characters of a word, each replaced by what `key` makes of it."""

    def change(word: str, rng: Random) -> str:
        characters = list(word)
        for index in _draw(len(word), _amount(len(word)), rng):
            characters[index] = key(characters[index], rng)
        return "".join(characters)

    return change


def _random(_: str, rng: Random) -> str:
    return _ANY[_below(len(_ANY), rng)]


def _neighbour(character: str, rng: Random) -> str:
    """A key beside the character's, in its case; itself if the keyboard has none of it."""
    keys = _NEIGHBOURS.get(character.lower())
    if keys is None:
        return character
    key = keys[_below(len(keys), rng)]
    return key.upper() if character.isupper() else key


def _near_keys() -> dict[str, str]:
    """The keys that touch each key: beside it, above and below."""
    places = {key: (row, place) for row, keys in enumerate(_ROWS) for place, key in enumerate(keys)}
    touching = {(0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0)}
    return {
        key: "".join(other for other, (r, p) in places.items() if (r - row, p - place) in touching)
        for key, (row, place) in places.items()
    }


def _amount(size: int) -> int:
    return min(max(int(_SHARE * size), 1), _MOST)


def _draw(size: int, n: int, rng: Random) -> list[int]:
    """n of 0 .. size - 1 without repeats, or all, ascending."""
    turns = [rng.random() for _ in range(size)]
    return sorted(sorted(range(size), key=turns.__getitem__)[:n])


def _below(size: int, rng: Random) -> int:
    return int(rng.random() * size)


_NEIGHBOURS = _near_keys()
