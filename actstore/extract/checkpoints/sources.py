"""Where a model's checkpoints come from: a hub repository's revisions, or folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers.utils import cached_file

from actstore.errors import ActstoreError, InvalidInputError, UnknownNameError
from actstore.extract.checkpoints.hub import (
    cached_models,
    cached_revisions,
    hub_revisions,
    prune_commit,
)
from actstore.refs import by_training_step, look_up, model_name

_CONFIGS = ("config.json", "adapter_config.json")


@dataclass(frozen=True)
class Source:
    """One checkpoint of a model, found."""

    model: str
    """What stores call it: the hub name, or the folder's own name."""
    checkpoint: str
    name: str
    """What `from_pretrained` is called with: the hub name, or the checkpoint's folder."""
    revision: str | None
    """The commit on the hub, so that all files are of one state; None for a folder."""
    trust_remote_code: bool = False
    base: Source | None = None
    """Of a PEFT adapter: the model that it changes, which has the configuration."""


def find_source(model: str, checkpoint: str, *, trust_remote_code: bool = False) -> Source:
    """Find a checkpoint of a hub model or of a local folder.

    In a folder, a checkpoint is the sub-folder of its name; `main` is the folder itself if it holds
    a model and no sub-folder `main`. A checkpoint with an adapter_config.json and no config.json is
    a PEFT adapter: its base model is found too. Downloads the configuration, no weights. Raises
    UnknownNameError with the nearest names, and InvalidInputError for a repository that cannot be
    read.
    """
    found = replace(_find(model, checkpoint), trust_remote_code=trust_remote_code)
    return found if has_file(found, "config.json") else replace(found, base=_find_base(found))


def known_checkpoints(model: str) -> list[str]:
    """The checkpoints of a model that can be listed, in training order.

    Sub-folders of a folder; of a hub model its branches and tags, or offline those in the cache.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        names = {path.parent.name for config in _CONFIGS for path in folder.glob(f"*/{config}")}
        if _is_checkpoint(folder):
            names.add("main")
        return by_training_step(names)
    return by_training_step({*hub_revisions(model), *cached_revisions(model)})


def weight_files(source: Source, *, pickled: bool = False) -> list[Path]:
    """The files of a checkpoint's weights, downloaded if they were not.

    Of an adapter: its own, then its base model's. pickled: accept pytorch_model.bin where there is
    no safetensors file. Raises InvalidInputError if there is none that may be read.
    """
    own = own_weight_files(source, pickled=pickled)
    return own + (weight_files(source.base, pickled=pickled) if source.base else [])


def own_weight_files(source: Source, *, pickled: bool = False) -> list[Path]:
    """As `weight_files`, without those of an adapter's base model."""
    safe, pickle = ("adapter_model", "adapter_model") if source.base else ("model", "pytorch_model")
    for single in [f"{safe}.safetensors", *([f"{pickle}.bin"] if pickled else [])]:
        if path := _file(source, single):
            return [path]
        if index := _file(source, f"{single}.index.json"):
            return [_shard(source, index, name) for name in _shard_names(source, index)]
    raise InvalidInputError(
        f"{source.model} has no safetensors weights at {source.checkpoint}"
        f"{f' and no {pickle}.bin' if pickled else ''}. "
        + (
            "Offline, download them first: actstore fetch --model MODEL --checkpoints REVISION. "
            * (source.revision is not None)
        )
        + "Convert them, or allow pickled weights, which can run code: --pickled-weights."
    )


def has_file(source: Source, name: str) -> bool:
    """Whether a checkpoint has a file of this name, downloaded if it was not."""
    return _file(source, name) is not None


def read_file(source: Source, name: str) -> bytes | None:
    """The content of a checkpoint's file, None if it has none of this name."""
    path = _file(source, name)
    return path.read_bytes() if path else None


def prune(source: Source, keep: Sequence[Source] = ()) -> int:
    """Delete a hub checkpoint's files from the hub cache; returns the bytes freed.

    keep: checkpoints still needed; a commit that one of them has, or is based on, stays. So do
    files that other commits share, an adapter's base model, and folders. Raises InvalidInputError
    if the cache cannot be read.
    """
    if source.revision is None:
        return 0
    needed = [one.revision for one in (*keep, *(other.base for other in keep)) if one]
    return prune_commit(source.name, source.revision, [one for one in needed if one])


def _find(model: str, checkpoint: str) -> Source:
    """The checkpoint itself."""
    folder = Path(model).expanduser()
    if folder.is_dir() or model.startswith((".", "/", "~")):
        name = str(_checkpoint_folder(model, folder, checkpoint))
        return Source(model_name(model), checkpoint, name, None)
    return Source(model, checkpoint, model, hub_config(model, checkpoint).parent.name)


def _find_base(adapter: Source) -> Source:
    """The model that an adapter changes. Raises InvalidInputError if it cannot be used."""
    config = adapter_config(adapter)
    name, revision = config.get("base_model_name_or_path"), config.get("revision") or "main"
    beside = Path(adapter.name, str(name))
    if adapter.revision is None and not Path(str(name)).exists() and beside.is_dir():
        name = str(beside)
    what = f"{adapter.model} at {adapter.checkpoint} is a PEFT adapter of {name!r}"
    if not isinstance(name, str) or not isinstance(revision, str):
        raise InvalidInputError(f"{what}: state base_model_name_or_path in adapter_config.json.")
    try:
        base = _find(name, revision)
    except ActstoreError as error:
        raise type(error)(f"{what}. {error}") from error
    if not has_file(base, "config.json"):
        raise InvalidInputError(f"{what}, which is an adapter itself: merge that one first.")
    return replace(base, trust_remote_code=adapter.trust_remote_code)


def adapter_config(adapter: Source) -> dict[str, Any]:
    """The adapter_config.json of a PEFT adapter. Raises InvalidInputError if it is none."""
    try:
        config = json.loads(read_file(adapter, "adapter_config.json") or b"")
    except ValueError as error:
        raise InvalidInputError(
            f"Cannot use adapter_config.json of {adapter.model} at {adapter.checkpoint}: {error}"
        ) from error
    return config if isinstance(config, dict) else {}


def _is_checkpoint(folder: Path) -> bool:
    return any((folder / name).exists() for name in _CONFIGS)


def _checkpoint_folder(model: str, folder: Path, checkpoint: str) -> Path:
    if not folder.is_dir():
        raise UnknownNameError(f"There is no folder {model}. Give a model's folder or hub name.")
    known = known_checkpoints(model)
    how = f"Its checkpoints are the sub-folders of {model} with a config.json, or `main`, itself."
    look_up(f"checkpoint of {model}", checkpoint, known, how)
    below = folder / checkpoint
    return below if _is_checkpoint(below) else folder


def hub_config(model: str, checkpoint: str) -> Path:
    """The configuration of a hub model or adapter."""
    errors: list[OSError] = []
    for name in _CONFIGS:
        try:
            if found := cached_file(model, name, revision=checkpoint):
                return Path(found)
        except OSError as error:
            errors.append(error)
    if len(errors) < len(_CONFIGS):  # for config.json alone, None says that it does not exist
        raise InvalidInputError(
            f"{model} has neither {' nor '.join(_CONFIGS)} at {checkpoint}: no transformers model."
        )
    raise _unknown(model, checkpoint, errors[0]) from errors[0]


def _unknown(model: str, checkpoint: str, error: OSError) -> Exception:
    """The error for a hub model or revision that could not be read."""
    reason = str(error).strip().splitlines()[0]
    known = known_checkpoints(model)
    if not known:
        return UnknownNameError(
            f"There is no model {model!r} here or on the hub ({reason}). "
            f"Models in this machine's cache: {', '.join(cached_models()) or 'none'}. "
            "Offline, download it first where there is a network: actstore fetch --model MODEL."
        )
    try:
        look_up(f"checkpoint of {model}", checkpoint, known, "These are the revisions known here.")
    except UnknownNameError as unknown:
        return unknown
    return InvalidInputError(f"Cannot read {model} at {checkpoint}: {reason}")


def _file(source: Source, name: str) -> Path | None:
    """The local path of a checkpoint's file, or None if the checkpoint has no such file."""
    try:
        found = cached_file(source.name, name, revision=source.revision)
    except OSError:
        return None
    return Path(found) if found else None


def _shard_names(source: Source, index: Path) -> list[str]:
    """The files that an index of weights names."""
    try:
        return sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            f"Cannot read {index.name} of {source.model} at {source.checkpoint}. "
            "Download it again, or save the model again."
        ) from error


def _shard(source: Source, index: Path, name: str) -> Path:
    if path := _file(source, name):
        return path
    raise InvalidInputError(
        f"{source.model} at {source.checkpoint} has no file {name}, which its {index.name} names. "
        "Download it again, or save the model again."
    )
