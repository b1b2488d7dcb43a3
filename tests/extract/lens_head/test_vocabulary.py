"""What a tokenizer's ids stand for, and that an extraction stores it once."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from actstore.errors import MissingShardsError
from actstore.extract.lens_head.vocabulary import decoded_tokens, special_ids
from actstore.extract.workers.runner import extract
from actstore.store import Store
from tests.support.extraction import request_of


def file_of(store: Store) -> Path:
    [found] = store.path.glob("models/*/vocabulary.parquet")
    return found


def test_ids_are_decoded_alone_and_unknown_ones_to_nothing(pythia_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(pythia_folder / "step0")
    n = len(tokenizer)
    tokens = decoded_tokens(tokenizer, n + 5)
    assert tokens[:n] == [tokenizer.decode([i]) for i in range(n)]
    assert tokens[n:] == [""] * 5
    [end] = tokenizer("<|endoftext|>")["input_ids"]
    assert end in special_ids(tokenizer)
    assert tokenizer("a")["input_ids"][0] not in special_ids(tokenizer)


def test_the_vocabulary_is_stored_with_the_first_head_and_kept(
    store: Store, pythia_folder: Path
) -> None:
    request = request_of(pythia_folder, checkpoints=("step0",), lens_head=True)
    extract(store, request)
    table = store.vocabulary(request.model)
    tokenizer = AutoTokenizer.from_pretrained(pythia_folder / "step0")
    for text in store.texts()["text"][:5]:
        ids = tokenizer(text)["input_ids"]
        assert "".join(table["token"][ids]) == text
    head = store.checkpoint(request.model, "step0").head()
    assert len(table) >= head.vocabulary_size
    before = file_of(store).stat().st_mtime_ns
    extract(store, request_of(pythia_folder, checkpoints=("step0", "step16"), lens_head=True))
    assert file_of(store).stat().st_mtime_ns == before


def test_a_store_whose_head_is_older_gets_its_vocabulary_and_keeps_its_head(
    store: Store, pythia_folder: Path
) -> None:
    request = request_of(pythia_folder, checkpoints=("step0",), lens_head=True)
    extract(store, request)
    expected = store.vocabulary(request.model)
    file_of(store).unlink()
    report = extract(store, request)
    assert report.checkpoints[0].lens_head == "kept"
    assert store.vocabulary(request.model).equals(expected)


def test_states_alone_have_no_vocabulary(store: Store, pythia_folder: Path) -> None:
    request = request_of(pythia_folder, checkpoints=("step0",))
    extract(store, request)
    with pytest.raises(MissingShardsError, match="--lens-head"):
        store.vocabulary(request.model)
