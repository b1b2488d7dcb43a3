"""A model's vocabulary in the store: what comes back, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from actstore.errors import MissingShardsError, PlanMismatchError, UnknownNameError
from actstore.store import Store, create_store, open_store
from actstore.store.heads.vocabulary import is_blank, write_vocabulary
from tests.support.states import MODEL, spec

TOKENS = ["<s>", " the", "…", "\ufffd", "", "日本", "\n\n"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = create_store(tmp_path / "s.zarr")
    store.add_texts(["a text"])
    store.begin_checkpoint(spec())
    return store


def test_what_ids_stand_for_comes_back_as_a_table(store: Store) -> None:
    write_vocabulary(store.storage, MODEL, TOKENS, {0}, "digest")
    table = open_store(store.url).vocabulary(MODEL)
    assert table["id"].tolist() == list(range(7))
    assert table["token"].tolist() == TOKENS
    assert table["is_special"].tolist() == [True] + [False] * 6
    assert table["is_blank"].tolist() == [False, False, True, False, True, False, True]
    assert [str(kind) for kind in table.dtypes] == ["int32", table.dtypes["token"], "bool", "bool"]


def test_the_first_vocabulary_stays(store: Store) -> None:
    write_vocabulary(store.storage, MODEL, TOKENS, {0}, "digest")
    write_vocabulary(store.storage, MODEL, ["other"], set(), "digest")
    assert store.vocabulary(MODEL)["token"].tolist() == TOKENS


def test_the_vocabulary_of_another_tokenizer_is_refused(store: Store) -> None:
    write_vocabulary(store.storage, MODEL, TOKENS, {0}, "digest")
    with pytest.raises(PlanMismatchError, match=r"tokenizer digest, .*tokenizer is other"):
        write_vocabulary(store.storage, MODEL, TOKENS, {0}, "other")
    assert store.vocabulary(MODEL)["token"].tolist() == TOKENS


def test_a_vocabulary_that_is_not_there_says_what_to_run(store: Store) -> None:
    with pytest.raises(MissingShardsError, match=rf"extract .* --model {MODEL} --lens-head"):
        store.vocabulary(MODEL)
    with pytest.raises(UnknownNameError, match="org/other"):
        store.vocabulary("org/other")


def test_the_vocabulary_is_no_checkpoint(store: Store) -> None:
    before = store.checkpoints(MODEL)
    write_vocabulary(store.storage, MODEL, TOKENS, {0}, "digest")
    assert store.checkpoints(MODEL) == before


@pytest.mark.parametrize(
    "token", ["", " ", "\t\n", ".", " ...", "«»", "“", "$+<=>^`|~", "\u200b", "\u3000", "、。"]
)
def test_a_token_of_space_and_punctuation_is_blank(token: str) -> None:
    assert is_blank(token)


@pytest.mark.parametrize("token", ["a", " a", "7", "'s", "日", "é", "\ufffd", "€", "∑", "😀", "²"])
def test_a_token_with_anything_else_is_not(token: str) -> None:
    assert not is_blank(token)
