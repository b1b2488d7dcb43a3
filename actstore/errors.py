"""Every error actstore raises on purpose.

ActstoreError
├── MissingDependencyError      an extra is not installed
├── NotAStoreError              the path holds no actstore store
├── StoreVersionError           the store was written by a newer format
├── UnknownNameError            no such model, checkpoint, layer, pooling, task, suite or metric
├── UnknownTextError            a text was never collected into the store
├── InvalidTextError            a text cannot be embedded: empty, or not valid Unicode
├── InvalidInputError           a file, option or selection that cannot be used
├── PlanMismatchError           the same arrays were begun under another plan
├── MissingShardsError          rows asked for were never extracted
├── CorruptShardError           a shard's bytes are not what was committed
├── StorageError                the storage refused, failed or did not answer
├── DiskSpaceError              a plan writes more than the disk has free
├── StateRangeError              states that the dtype they would be stored in cannot hold
├── ModelStructureError         a model whose blocks, final norm or head cannot be found
├── HeadReplayError             the lens head found does not reproduce the model's logits
├── WorkerDiedError             a worker process ended without a word
├── ClusterError                a cluster's scheduler refused, or gave no answer
├── PartlyDoneError             some of what was asked for failed, the rest was done
└── StoppedError                a signal ended the run; it can be gone on with

A message says what was asked, what was found, and what to type next.
"""

from __future__ import annotations

from collections.abc import Mapping


class ActstoreError(Exception):
    """Base of all errors a user can cause or mend; printed without a traceback."""

    exit_code = 1


class MissingDependencyError(ActstoreError):
    """An optional dependency is not installed."""

    exit_code = 2


class NotAStoreError(ActstoreError):
    """The path holds no actstore store."""

    exit_code = 2


class StoreVersionError(ActstoreError):
    """The store's format version is newer than this actstore reads."""

    exit_code = 2


class UnknownNameError(ActstoreError):
    """No model, checkpoint, layer, pooling, task, suite or metric of that name."""

    exit_code = 2


class UnknownTextError(ActstoreError):
    """A text that was never collected into the store."""

    exit_code = 3


class InvalidTextError(ActstoreError):
    """A text that cannot be embedded."""

    exit_code = 2


class InvalidInputError(ActstoreError):
    """A file, option or selection that cannot be used."""

    exit_code = 2


class PlanMismatchError(ActstoreError):
    """The store holds arrays of the same name made under another plan."""

    exit_code = 2


class MissingShardsError(ActstoreError):
    """Rows that were asked for were never extracted."""

    exit_code = 3


class CorruptShardError(ActstoreError):
    """A shard's bytes are not those that were committed."""

    exit_code = 4


class StorageError(ActstoreError, OSError):
    """The storage refused to read or write, failed at it, or did not answer."""


class DiskSpaceError(ActstoreError):
    """The plan writes more bytes than the disk has free."""


class StateRangeError(ActstoreError):
    """Hidden states that the stored dtype cannot hold: overflow, underflow, infinite or NaN."""


class ModelStructureError(ActstoreError):
    """A model whose blocks, final norm or head cannot be found."""


class HeadReplayError(ActstoreError):
    """The lens head that was found does not reproduce the model's logits."""


class WorkerDiedError(ActstoreError):
    """A worker process ended without saying why."""


class ClusterError(ActstoreError):
    """A cluster's scheduler refused what was asked of it, or gave no answer."""


class PartlyDoneError(ActstoreError):
    """Some of what was asked for failed; the rest was done and stays."""


class StoppedError(ActstoreError):
    """A signal ended the run before its work was done."""

    exit_code = 75
    """EX_TEMPFAIL of sysexits.h: run the same command again."""


def raise_failed(what: str, failed: Mapping[str, ActstoreError], n_asked: int) -> None:
    """Raise what some of several things failed with, after the others were done; nothing if none.

    what: what was done with them, as in `tasks collected`. Raises PartlyDoneError that tells each
    reason by name, or the error itself where one thing alone was asked for.
    """
    for first in failed.values():
        if n_asked == 1:
            raise first
        reasons = "".join(f"\n- {name}: {error}" for name, error in failed.items())
        raise PartlyDoneError(
            f"{n_asked - len(failed)} of {n_asked} {what}; these failed:{reasons}\n"
            "What was done stays: mend this and run the same command again."
        ) from first
