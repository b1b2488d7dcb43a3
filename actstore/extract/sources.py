"""Where a model's checkpoints come from: a hub repository's revisions, or folders."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import xxhash
from huggingface_hub import HfApi, constants
from transformers.utils import cached_file

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.refs import by_training_step, look_up, model_name

_READ_AT_ONCE = 16 << 20


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


def find_source(model: str, checkpoint: str, *, trust_remote_code: bool = False) -> Source:
    """Find a checkpoint of a hub model or of a local folder.

    In a folder, a checkpoint is the sub-folder of its name; `main` is the folder itself if it holds
    a model and no sub-folder `main`. Downloads config.json, no weights. Raises UnknownNameError
    with the nearest names, and InvalidInputError for a repository that cannot be read.
    """
    folder = Path(model).expanduser()
    if folder.is_dir() or model.startswith((".", "/", "~")):
        name = str(_checkpoint_folder(model, folder, checkpoint))
        return Source(model_name(model), checkpoint, name, None, trust_remote_code)
    config = _hub_config(model, checkpoint)
    return Source(model, checkpoint, model, config.parent.name, trust_remote_code)


def known_checkpoints(model: str) -> list[str]:
    """The checkpoints of a model that can be listed, in training order.

    Sub-folders of a folder; of a hub model its branches and tags, or offline those in the cache.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        names = [path.parent.name for path in folder.glob("*/config.json")]
        if "main" not in names and (folder / "config.json").exists():
            names.append("main")
        return by_training_step(names)
    return by_training_step({*_hub_revisions(model), *_cached_revisions(model)})


def weight_files(source: Source, *, pickled: bool = False) -> list[Path]:
    """The files of a checkpoint's weights, downloaded if they were not.

    pickled: accept pytorch_model.bin where there is no safetensors file. Raises InvalidInputError
    if there is none that may be read.
    """
    stems = ["model.safetensors", *(["pytorch_model.bin"] if pickled else [])]
    for single in stems:
        if path := _file(source, single):
            return [path]
        if index := _file(source, f"{single}.index.json"):
            names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
            return [_shard(source, name) for name in names]
    raise InvalidInputError(
        f"{source.model} has no safetensors weights at {source.checkpoint}"
        f"{' and no pytorch_model.bin' if pickled else ''}. "
        "Convert them, or allow pickled weights, which can run code: --pickled-weights."
    )


def has_file(source: Source, name: str) -> bool:
    """Whether a checkpoint has a file of this name, downloaded if it was not."""
    return _file(source, name) is not None


def digest_of_files(paths: list[Path]) -> str:
    """xxh3-128, in hex, of the contents of some files in this order."""
    digest = xxhash.xxh3_128()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(_READ_AT_ONCE):
                digest.update(block)
    return digest.hexdigest()


def _checkpoint_folder(model: str, folder: Path, checkpoint: str) -> Path:
    if not folder.is_dir():
        raise UnknownNameError(f"There is no folder {model}. Give a model's folder or hub name.")
    known = known_checkpoints(model)
    how = f"Its checkpoints are the sub-folders of {model} with a config.json, or `main`, itself."
    look_up(f"checkpoint of {model}", checkpoint, known, how)
    below = folder / checkpoint
    return below if (below / "config.json").exists() else folder


def _hub_config(model: str, checkpoint: str) -> Path:
    try:
        found = cached_file(model, "config.json", revision=checkpoint)
    except OSError as error:
        raise _unknown(model, checkpoint, error) from error
    if found is None:
        raise InvalidInputError(
            f"{model} has no config.json at {checkpoint}: no transformers model."
        )
    return Path(found)


def _unknown(model: str, checkpoint: str, error: OSError) -> Exception:
    """The error for a hub model or revision that could not be read."""
    reason = str(error).strip().splitlines()[0]
    known = known_checkpoints(model)
    if not known:
        return UnknownNameError(
            f"There is no model {model!r} here or on the hub ({reason}). "
            f"Models in this machine's cache: {', '.join(_cached_models()) or 'none'}. "
            "Offline, download it first where there is a network: hf download MODEL."
        )
    try:
        look_up(f"checkpoint of {model}", checkpoint, known, "These are the revisions known here.")
    except UnknownNameError as unknown:
        return unknown
    return InvalidInputError(f"Cannot read {model} at {checkpoint}: {reason}")


def _hub_revisions(model: str) -> list[str]:
    try:
        refs = HfApi().list_repo_refs(model)
    except Exception:  # only for a hint; offline, gated and unknown raise classes of many libraries
        return []
    return [ref.name for ref in (*refs.branches, *refs.tags)]


def _cached_revisions(model: str) -> list[str]:
    refs = Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}" / "refs"
    return [str(path.relative_to(refs)) for path in refs.rglob("*") if path.is_file()]


def _cached_models() -> list[str]:
    folders = sorted(Path(constants.HF_HUB_CACHE).glob("models--*"))
    return [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]


def _file(source: Source, name: str) -> Path | None:
    """The local path of a checkpoint's file, or None if the checkpoint has no such file."""
    try:
        found = cached_file(source.name, name, revision=source.revision)
    except OSError:
        return None
    return Path(found) if found else None


def _shard(source: Source, name: str) -> Path:
    found = cached_file(source.name, name, revision=source.revision)
    assert found is not None, "cached_file raises for a missing weight file"
    return Path(found)
