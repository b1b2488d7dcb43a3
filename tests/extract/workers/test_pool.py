"""Errors on their way from a worker process to the one that started it."""

from __future__ import annotations

import pickle

import pytest

from actstore.errors import ActstoreError, StateRangeError
from actstore.extract.workers.pool import _portable


class AwkwardError(Exception):
    """Cannot be made anew from its message, as many of libraries' cannot."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{code}: {why}")


def raised(error: BaseException) -> BaseException:
    """What the parent gets of an error that a worker meets."""
    try:
        raise error
    except type(error) as caught:
        return pickle.loads(pickle.dumps(_portable(caught)))


def test_an_error_of_a_library_arrives_in_words_with_its_traceback() -> None:
    arrived = raised(AwkwardError(7, "no such kernel"))
    assert type(arrived) is RuntimeError
    assert "AwkwardError: 7: no such kernel" in str(arrived)
    assert "in raised" in str(arrived)


def test_our_own_errors_arrive_as_they_are_with_their_notes() -> None:
    error = StateRangeError("layer 3 is infinite")
    error.add_note("while extracting the shard 0:64")
    arrived = raised(error)
    assert isinstance(arrived, ActstoreError)
    assert (str(arrived), arrived.__notes__) == (str(error), error.__notes__)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left", "c.0.1.0"), ModuleNotFoundError("no peft", name="peft")]
)
def test_errors_that_tell_what_to_do_keep_what_they_know(error: Exception) -> None:
    arrived = raised(error)
    assert type(arrived) is type(error)
    for known in ("errno", "filename", "name"):
        assert getattr(arrived, known, None) == getattr(error, known, None)
