"""Checkpoints that are not what they say: different names, the same weights.

Published branches are known to be mislabelled, and nothing in a run would show it: 76 of the 154
steps of pythia-2.8b were bit for bit `main` (https://github.com/EleutherAI/pythia/issues/205), and
two of pythia-12b had the first file of the last step (https://github.com/EleutherAI/pythia/issues/206).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from actstore.errors import InvalidInputError
from actstore.extract.checkpoints.fingerprint import digest_of_tensors, tensors_of
from actstore.extract.checkpoints.hub import file_hashes
from actstore.extract.checkpoints.sources import Source, known_checkpoints, own_weight_files
from actstore.refs import by_training_step, training_step

_AT_ONCE = 8
"""Checkpoints looked at concurrently: on a hub or a network disk most of the time is waiting."""
_SAFETENSORS = re.compile(r"(adapter_)?model(-\d+-of-\d+)?\.safetensors")
_PICKLED = re.compile(r"(adapter_model|pytorch_model)(-\d+-of-\d+)?\.bin")


def require_distinct_weights(sources: Sequence[Source], *, pickled: bool = False) -> None:
    """Raise InvalidInputError if two of a model's checkpoints have the same weights, or a file.

    `main` may be the latest step under another name, or one that names no step.
    """
    groups = [[one.checkpoint for one in group] for group in same_weights(sources, pickled=pickled)]
    _require_aliases(sources[0], groups)


def require_new_weights(source: Source, digest: str, stored: Mapping[str, str]) -> None:
    """Raise InvalidInputError if a stored checkpoint has the same weights, as above.

    stored: the weights' digests of the model's checkpoints in the store, by name.
    """
    twins = [name for name, other in stored.items() if other == digest]
    groups = [[source.checkpoint, name] for name in twins if name != source.checkpoint]
    _require_aliases(source, groups)


def same_weights(sources: Sequence[Source], *, pickled: bool = False) -> list[list[Source]]:
    """Groups of checkpoints whose weights, or one file of them, are the same, bit for bit.

    Of hub checkpoints the hashes are compared that the cache or the hub states; nothing is
    downloaded, and what neither knows is left out. Of folders both ends of every tensor are read,
    and the whole files where those agree. Raises InvalidInputError for a folder's weights that
    cannot be read.
    """
    suspects = _sharing(sources, pickled, sampled=True)
    on_hub = [group for group in suspects if group[0].revision is not None]
    in_folders = [group for group in suspects if group[0].revision is None]
    confirmed = (_sharing(group, pickled, sampled=False) for group in in_folders)
    return [*on_hub, *chain.from_iterable(confirmed)]


def _sharing(sources: Sequence[Source], pickled: bool, *, sampled: bool) -> list[list[Source]]:
    """The connected groups of sources that have a part in common."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        parts = list(pool.map(lambda source: _parts(source, pickled, sampled), sources))
    groups: list[tuple[set[str], list[Source]]] = []
    for source, mine in zip(sources, parts, strict=True):
        touching = [group for group in groups if group[0] & mine]
        members = [*chain.from_iterable(members for _, members in touching), source]
        groups = [group for group in groups if not group[0] & mine]
        groups.append((mine.union(*(theirs for theirs, _ in touching)), members))
    return [members for _, members in groups if len(members) > 1]


def _parts(source: Source, pickled: bool, sampled: bool) -> set[str]:
    """What of a checkpoint may not be another's too: all its tensors, and each file's."""
    of_base = f"{source.base.name} {source.base.revision} " if source.base else ""
    if source.revision is not None:
        return {of_base + hash_ for hash_ in _hub_hashes(source, pickled)}
    files = own_weight_files(source, pickled=pickled)
    tensors = [tensors_of(path, sampled=sampled) for path in files]
    return {of_base + digest_of_tensors(some) for some in (*tensors, chain.from_iterable(tensors))}


def _hub_hashes(source: Source, pickled: bool) -> list[str]:
    assert source.revision is not None
    hashes = file_hashes(source.name, source.revision, _SAFETENSORS)
    if not hashes and pickled:
        hashes = file_hashes(source.name, source.revision, _PICKLED)
    return list(hashes.values())


def _require_aliases(one: Source, groups: Iterable[Sequence[str]]) -> None:
    """Raise InvalidInputError unless each group is one checkpoint under two names."""
    wrong = [group for group in groups if not _is_alias(group, known_checkpoints(_model_of(one)))]
    if wrong:
        raise InvalidInputError(
            f"Checkpoints of {one.model} have the same weights, or a weights file in "
            f"common: {'; '.join(_listed(group) for group in wrong)}. Published Pythia branches "
            "are known to be mislabelled "
            "(https://github.com/EleutherAI/pythia/issues/205 and 206). "
            "Leave out all but one of them, or go on with --same-weights."
        )


def _is_alias(names: Sequence[str], known: Iterable[str]) -> bool:
    """Whether checkpoints with the same weights are `main` and one that may well be it."""
    others = set(names) - {"main"}
    if len(others) != 1 or len(others) == len(names):
        return False
    step, steps = training_step(*others), (training_step(name) for name in known)
    return step is None or step >= max((other for other in steps if other is not None), default=0)


def _model_of(source: Source) -> str:
    """The hub name or folder whose checkpoint this is."""
    folder = Path(source.name)
    below = source.revision is None and folder.name == source.checkpoint
    return str(folder.parent) if below else source.name


def _listed(names: Iterable[str]) -> str:
    *first, last = by_training_step(names)
    return f"{', '.join(first)} and {last}"
