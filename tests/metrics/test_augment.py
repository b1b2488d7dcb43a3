"""Views of texts: what they change, what they keep, and that they always come out the same."""

from __future__ import annotations

import re
from concurrent.futures import ProcessPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actstore.metrics.views.augment import _NEIGHBOURS, augment, views_of

PROSE = (
    "The settlers of the valley, who'd arrived in 1847, planted apricots; their orchards\n"
    "\tflourished (mostly) until the long drought.  Nobody remembers exactly why."
)


def test_views_never_change_from_version_to_version() -> None:
    """Stored view sets can be made again: change VERSION when this changes."""
    assert augment("representation learning", 0) == "OeEresen5Vttpn lea rning"
    assert augment("representation learning", 1) == "*e7ryxen5qgion lea rning"
    assert augment("representation learning", 0, seed=1) == "representation oea7 ning"


@given(st.text(max_size=200), st.integers(0, 20), st.integers(-3, 2**70))
@settings(max_examples=200, deadline=None)
def test_a_view_follows_from_text_view_and_seed_alone(text: str, view: int, seed: int) -> None:
    found = augment(text, view, seed)
    assert found == augment(text, view, seed)
    assert len(found) >= len(text)
    assert bool(found) == bool(text)


def test_other_processes_and_orders_make_the_same_views() -> None:
    texts = [f"{PROSE} {i}" for i in range(8)]
    with ProcessPoolExecutor(1) as pool:
        there = pool.submit(views_of, texts[::-1], 3, 5).result()
    assert there[::-1] == views_of(texts, 3, 5)


def test_more_views_begin_with_the_same_ones() -> None:
    assert [views[:2] for views in views_of([PROSE, "short text"], 5)] == views_of(
        [PROSE, "short text"], 2
    )


def test_views_and_seeds_differ() -> None:
    views = {augment(PROSE, view, seed) for view in range(16) for seed in range(4)}
    assert len(views) == 64
    assert PROSE not in views


def without_splits(view: str, text: str) -> str | None:
    """The view less the spaces that were put into it, or None if other space was touched."""
    kept, place = "", 0
    for character in view:
        if place < len(text) and (character == " ") == (text[place] == " "):
            kept, place = kept + character, place + 1
        elif character != " ":
            return None
    return kept


@pytest.mark.parametrize("view", range(20))
def test_a_view_keeps_white_space_and_splits_or_mistypes_some_words(view: int) -> None:
    found = augment(PROSE, view)
    words = re.findall(r"\w+", PROSE)
    unsplit = without_splits(found, PROSE)
    assert unsplit is not None
    assert len(unsplit) == len(PROSE)
    assert len(found) - len(PROSE) == min(10, int(0.3 * len(words)))
    changed = [(a, b) for a, b in zip(PROSE, unsplit, strict=True) if a != b]
    assert 0 < len(changed) <= 2 * 10 * 3
    assert all(character.isalnum() for character, _ in changed)
    assert [c for c in unsplit if c in "\n\t"] == ["\n", "\t"]


@pytest.mark.parametrize("text", ["a b c", "the cat", "?!... --- 12 345", "   ", "日本語"])
def test_texts_of_short_words_are_their_own_view(text: str) -> None:
    assert augment(text, 3) == text


def test_a_word_is_split_inside_and_mistyped_at_once() -> None:
    for view in range(50):
        parts = augment("abcd", view).split(" ")
        assert len(parts) == 2
        assert min(map(len, parts)) >= 1
        assert sum(map(len, parts)) == 4


def test_long_texts_have_at_most_ten_words_changed_of_each_kind() -> None:
    text = " ".join(["wonderful"] * 500)
    found = augment(text, 0)
    assert len(found) == len(text) + 10
    assert found.split(" ").count("wonderful") >= 470


def test_words_of_any_script_are_changed() -> None:
    assert augment("Преобразование представлений", 0) != "Преобразование представлений"


def test_keys_have_the_neighbours_they_have_on_a_keyboard() -> None:
    assert set(_NEIGHBOURS["g"]) == set("ftyhvb")
    assert set(_NEIGHBOURS["q"]) == set("12wa")
    assert set(_NEIGHBOURS["0"]) == set("9op")
    assert set(_NEIGHBOURS["m"]) == set("njk")
    for key, near in _NEIGHBOURS.items():
        assert key not in near
        assert all(key in _NEIGHBOURS[other] for other in near)
