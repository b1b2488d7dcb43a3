"""Fetching a model's checkpoints on a machine with a network, for those that have none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actstore.extract.checkpoints.resolve import resolve_checkpoints
from actstore.extract.checkpoints.sources import Source, find_source, own_weight_files
from actstore.snapshots import FetchReport, Snapshot, fetch_all, take_snapshot

_SMALL = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
"""Configurations, vocabularies and lists of weights files."""


def fetch_models(
    model: str,
    checkpoints: str | Sequence[str] = "main",
    *,
    trust_remote_code: bool = False,
    pickled: bool = False,
) -> FetchReport:
    """Have checkpoints of a model in the hub cache: configurations, tokenizers, weights.

    checkpoints: as `resolve_checkpoints` takes them. trust_remote_code: the model's code too.
    pickled: as `weight_files` takes it. Of an adapter its base model is fetched as well; folders
    need no fetching. Raises UnknownNameError for what there is not, and PartlyDoneError after all
    others where a checkpoint cannot be had (InvalidInputError for a lone one).
    """
    names = resolve_checkpoints(model, checkpoints)

    def snapshots_of(checkpoint: str) -> Callable[[], list[Snapshot]]:
        return lambda: _snapshots(
            find_source(model, checkpoint, trust_remote_code=trust_remote_code), pickled
        )

    wanted = {name: snapshots_of(name) for name in names}
    return fetch_all(f"Fetching {model}", "checkpoint", wanted)


def _snapshots(source: Source, pickled: bool) -> list[Snapshot]:
    """A checkpoint and what it is based on, those in folders left out."""
    of_base = _snapshots(source.base, pickled) if source.base else []
    if source.revision is None:
        return of_base
    patterns = [*_SMALL, *(["*.py"] if source.trust_remote_code else [])]
    weights = [path.name for path in own_weight_files(source, pickled=pickled)]
    fetch = f"--model {source.name} --checkpoints {source.checkpoint}"
    only = [*patterns, *weights]
    taken = take_snapshot("model", source.name, source.revision, only=only, fetch=fetch)
    return [taken, *of_base]
