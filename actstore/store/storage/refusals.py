"""What object stores refuse or fail to answer: whether to ask again, and how to say it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from obstore.exceptions import BaseError, GenericError, PermissionDeniedError, UnauthenticatedError

from actstore.errors import StorageError
from actstore.store.storage.patience import Patience, tries

T = TypeVar("T")

_SPENT = re.compile(r"after (\d+) retries, max_retries: (\d+)")
_CLIENT_ERROR = re.compile(r"status code: 4(?!08|29)\d\d")
_WORDS_OF_SERVER = re.compile(
    r"<\?xml.*?<Code>(.*?)</Code>.*?<Message>(.*?)</Message>.*", re.DOTALL
)
CREDENTIALS = (
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (`aws configure` makes a "
    "profile; it needs boto3: pip install boto3), or AWS_SKIP_SIGNATURE=true for a public bucket."
)
_BUCKET = "Create the bucket, or mend its name, AWS_REGION or AWS_ENDPOINT_URL."
_REACH = "See whether AWS_ENDPOINT_URL and AWS_REGION are right, and run the same command again."


@contextmanager
def told(url: str, key: str) -> Iterator[None]:
    """Raise what obstore raises as StorageError, but for what says that an object is (not) there.

    A missing bucket is no missing object.
    """
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise _refused(url, key, error, _BUCKET) from error
        raise FileNotFoundError(f"{url} has no {key}") from None
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise _refused(url, key, error, CREDENTIALS) from error
    except GenericError as error:
        raise _refused(url, key, error, _advice(str(error))) from error


def answer(url: str, key: str, patience: Patience, question: Callable[[], T]) -> T:
    """The answer to a question about a key that may be asked as often as one likes."""
    with told(url, key):
        for last in tries(patience, may_pass):
            try:
                return question()
            except BaseError as error:
                if last(error):
                    raise
    raise AssertionError("the last try returns or raises")


def is_behind_end(error: Exception) -> bool:
    """Whether a range was refused that begins behind the end of its object."""
    return "status code: 416" in str(error) or "Invalid range" in str(error)


def may_pass(error: Exception) -> bool:
    """Whether another try may succeed."""
    text = str(error)
    spent = _SPENT.search(text)
    if not isinstance(error, GenericError) or (spent and spent[1] == spent[2]):
        return False
    return not (_CLIENT_ERROR.search(text) or is_behind_end(error))


def _advice(text: str) -> str:
    if "NoSuchBucket" in text:
        return _BUCKET
    if (
        "/latest/api/token" in text or "credential" in text.lower()
    ):  # what a machine itself is given
        return CREDENTIALS
    return _REACH


def _refused(url: str, key: str, error: BaseError | OSError, advice: str) -> StorageError:
    why = str(error).split("\n\nDebug source")[0].strip()
    told_by_server = _WORDS_OF_SERVER.sub(r"\1, \2", why).rstrip(".: ")
    what = key or "a listing"
    return StorageError(f"{url} did not answer for {what}: {told_by_server}. {advice}")
