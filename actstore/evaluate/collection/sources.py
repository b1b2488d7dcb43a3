"""Where a task's data come from: a data set of the hub at exactly the revision mteb pins.

`datasets.load_dataset` cannot be asked that. Without a network, and after any failing answer of
the hub, it takes what its own cache has newest, of whatever revision, and knows one configuration
of it: reranking tasks lose their candidates and are scored as retrieval. So the files are taken
from the hub cache, which keeps revisions apart, and given to the task as a folder; while it loads
them there is neither a network nor another cache.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import datasets
from datasets.data_files import sanitize_patterns
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, constants, hf_hub_download
from mteb.abstasks import AbsTask

from actstore.errors import InvalidInputError
from actstore.evaluate.collection.bundle import versions
from actstore.evaluate.collection.packed_loading import packed_loading
from actstore.evaluate.suites import catalogue
from actstore.snapshots import Snapshot, take_snapshot

_CARD = "README.md"
"""States which files a configuration has."""
_WILDCARDS = "*?[{"


def pinned_revision(name: str) -> str:
    """The revision of a task's data that the installed mteb pins."""
    return str(catalogue.new_task(name).metadata.dataset.get("revision"))


@contextmanager
def loaded(task: AbsTask) -> Iterator[dict[str, str]]:
    """A task with its data loaded at the pinned revision and nothing else; valid within the block.

    Yields the commits that were read, by repository; none for the demo's tasks, which make their
    data. Raises InvalidInputError if the data are neither in the hub cache nor on the hub, or if
    the task cannot load them from there.
    """
    makes_its_own = task.metadata.name in catalogue.demo_tasks()
    snapshot = None if makes_its_own else dataset_snapshot(task)
    with _nothing_else():
        with _from_folder(task, snapshot.folder) if snapshot else nullcontext():
            _load(task)
        yield {snapshot.repo: snapshot.commit} if snapshot else {}


def dataset_snapshot(task: AbsTask) -> Snapshot:
    """The data set of a task at its pinned revision, downloaded if it was not.

    Files of subsets that the task is narrowed from are left out. Raises InvalidInputError.
    """
    (repo, revision), name = _source(task), task.metadata.name
    offline = bool(datasets.config.HF_HUB_OFFLINE)  # also true with HF_DATASETS_OFFLINE
    without, fetch = _unused_files(task, repo, revision, offline), f"--suite {name}"
    try:
        return take_snapshot(
            "dataset", repo, revision, without=without, offline=offline, fetch=fetch
        )
    except InvalidInputError as error:
        raise InvalidInputError(f"The data of {name} could not be loaded. {error}") from error


def _load(task: AbsTask) -> None:
    try:
        with packed_loading(task, str(versions()["mteb"])):
            task.load_data()
    except Exception as error:
        name, (repo, revision) = task.metadata.name, _source(task)
        reason = str(error).strip().partition("\n")[0]
        message = (
            f"The data of {name} could not be loaded from {repo} at revision {revision}: "
            f"{type(error).__name__}: {reason}"
        )
        if isinstance(error, (ConnectionError, FileNotFoundError)):
            message += (
                ". Only the data set that mteb pins for a task is within reach while it loads: "
                "a task that reads others too cannot be collected."
            )
        raise InvalidInputError(message) from error


def _source(task: AbsTask) -> tuple[str, str]:
    """The repository and the revision that mteb pins, of the class: it may read a folder now."""
    source = type(task).metadata.dataset
    return source["path"], source["revision"]


@contextmanager
def _from_folder(task: AbsTask, folder: Path) -> Iterator[None]:
    """Let a task take a folder for its data set."""
    source = {**task.metadata.dataset, "path": str(folder)}
    task.metadata = task.metadata.model_copy(update={"dataset": source})
    try:
        yield
    finally:
        del task.metadata  # its class's shows again


@contextmanager
def _nothing_else() -> Iterator[None]:
    """Neither a network nor the caches of the libraries: what is no local file cannot be loaded.

    What `datasets` prepares from the files is deleted at the end, as the store keeps it.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(_scratch_folder())
        for module in (datasets.config, constants):
            stack.enter_context(_set_to(module, "HF_HUB_OFFLINE", True))
        stack.enter_context(_set_to(datasets.config, "HF_DATASETS_CACHE", Path(folder)))
        stack.enter_context(_set_to(constants, "HF_HUB_CACHE", folder))
        yield


def _scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder where prepared data would be kept, or for temporary files if that is read-only.

    On a network disk an open file keeps its folder from being deleted: that is no error.
    """
    root = Path(datasets.config.HF_DATASETS_CACHE)
    try:
        root.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory("", "actstore-", root, ignore_cleanup_errors=True)
    except OSError:
        return tempfile.TemporaryDirectory("", "actstore-", ignore_cleanup_errors=True)


@contextmanager
def _set_to(module: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def _unused_files(task: AbsTask, repo: str, revision: str, offline: bool) -> list[str]:
    """Patterns of the files that only subsets have which a task is narrowed from."""
    left_out = {*task.metadata.hf_subsets} - {*task.hf_subsets}
    if not left_out:
        return []
    try:
        card = hf_hub_download(
            repo, _CARD, repo_type="dataset", revision=revision, local_files_only=offline
        )
    except Exception:  # no card; out of reach: then taking the snapshot says so
        return []
    configs = MetadataConfigs.from_dataset_card_data(DatasetCard.load(card).data)
    unused = {name for name in [*configs][1:] if _is_of(name, left_out, task.hf_subsets)}
    return _disjoint(
        [pattern for name in unused for pattern in _patterns(configs[name])],
        [pattern for name in {*configs} - unused for pattern in _patterns(configs[name])],
    )


def _is_of(config: str, left_out: set[str], used: Sequence[str]) -> bool:
    """Whether a configuration belongs to a subset left out: `de`, or `de-corpus` of retrieval."""

    def is_of(subset: str) -> bool:
        return config == subset or config.startswith(f"{subset}-")

    return any(map(is_of, left_out)) and not any(map(is_of, used))


def _patterns(config: Mapping[str, Any]) -> list[str]:
    """The files of a configuration; everything, if the card does not say."""
    if "data_files" not in config or config.get("data_dir"):
        return [""]
    by_split = sanitize_patterns(config["data_files"])
    return [str(pattern).removeprefix("./") for group in by_split.values() for pattern in group]


def _disjoint(unused: Sequence[str], used: Sequence[str]) -> list[str]:
    """The unused patterns that certainly match no used file: what they begin with differs."""
    begins = [_literal(pattern) for pattern in used]
    return [
        pattern
        for pattern in unused
        if (mine := _literal(pattern))
        and not any(mine.startswith(other) or other.startswith(mine) for other in begins)
    ]


def _literal(pattern: str) -> str:
    """What a pattern begins with before its first wildcard."""
    first = min((pattern.find(c) for c in _WILDCARDS if c in pattern), default=len(pattern))
    return pattern[:first]
