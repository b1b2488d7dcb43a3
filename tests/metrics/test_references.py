"""What a layer is compared with."""

from __future__ import annotations

import pytest

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.metrics.running.references import Reference
from tests.metrics.small_store import MODEL, SmallStore, small_store


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallStore:
    return small_store(tmp_path_factory.mktemp("references"), sample=False, head=False)


@pytest.mark.parametrize(
    ("name", "layer", "expected"),
    [
        ("previous_layer", 2, ("step1000", 1)),
        ("previous_layer", 0, None),
        ("last_layer", 1, ("step1000", 3)),
        ("last_layer", 3, None),
        ("layer:1", 3, ("step1000", 1)),
        ("layer:1", 1, None),
        ("previous_checkpoint", 2, ("step0", 2)),
        ("last_checkpoint", 2, None),
        ("checkpoint:step0", 2, ("step0", 2)),
    ],
)
def test_the_other_one(
    small: SmallStore, name: str, layer: int, expected: tuple[str, int] | None
) -> None:
    group = small.store.checkpoint(MODEL, "step1000")
    assert Reference.named(name).of(small.store, group, layer) == expected


def test_the_first_checkpoint_has_none_before_it_but_one_behind(small: SmallStore) -> None:
    group = small.store.checkpoint(MODEL, "step0")
    assert Reference.named("previous_checkpoint").of(small.store, group, 1) is None
    assert Reference.named("last_checkpoint").of(small.store, group, 1) == ("step1000", 1)


def test_an_unknown_rule_lists_those_there_are() -> None:
    with pytest.raises(InvalidInputError, match=r"'next_layer'.*previous_layer, last_layer"):
        Reference.named("next_layer")


def test_what_is_not_stored_is_named(small: SmallStore) -> None:
    group = small.store.checkpoint(MODEL, "step0")
    with pytest.raises(UnknownNameError, match="layer '9'"):
        Reference.named("layer:9").of(small.store, group, 1)
    with pytest.raises(UnknownNameError, match="checkpoint 'step7'"):
        Reference.named("checkpoint:step7").of(small.store, group, 1)
