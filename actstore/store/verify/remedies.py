"""The commands that make again what was damaged, and nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from actstore.errors import CorruptShardError
from actstore.refs import model_name
from actstore.store.records.documents import Fields, is_table, is_text, list_of, wrong_field
from actstore.store.records.runs import is_extraction, run_events
from actstore.store.schema import TEXT_VALUES
from actstore.store.shards import EXACT
from actstore.store.storage import Storage

if TYPE_CHECKING:
    from actstore.store.checkpoint import CheckpointGroup

_POOL = "_pool"
_STARTED: Fields = {"command": list_of(is_text), "settings": is_table}
_OF_SAMPLE = ("--tokens", "--seed", "--suite", "--texts", "--column")
"""Options that choose the texts of a token sample."""


@dataclass(frozen=True)
class Remedy:
    """An extraction that makes damaged arrays of some checkpoints again."""

    store: str
    model: str
    settings: tuple[str, ...]
    """Options that the plan of the checkpoints fixes: `--max-tokens 512`."""
    texts: tuple[str, ...]
    """Options that choose texts: `--suite mteb-en`; none for all."""
    sample: str
    """A token sample to be finished too; empty for none."""
    checkpoints: tuple[str, ...]
    poolings: tuple[str, ...]
    text_values: bool = False
    head: bool = False

    def command(self, *, marked: bool = False) -> str:
        """What to type. marked: what is to be made again counts as to do already."""
        arguments = [
            *("actstore", "extract", self.store, "--model", self.model),
            *("--checkpoints", ",".join(self.checkpoints)),
            *("--pooling", ",".join(self.poolings)),
            *self.settings,
            *self.texts,
            *(("--token-metrics",) if self.text_values else ()),
            *(("--tokens-name", self.sample) if self.sample else ()),
            "--lens-head" if self.head else "--no-lens-head",
        ]
        extract = shlex.join(arguments)
        return extract if marked else f"{repair(self.store)} && {extract}"


class Past:
    """The commands that a store was made with, as its run log has them; read when first asked."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @cached_property
    def _started(self) -> list[dict[str, Any]]:
        """The beginnings of runs, newest first."""
        try:
            events = run_events(self._storage)
        except CorruptShardError:  # a problem of its own; a place to fill in is printed instead
            return []
        return [
            event
            for event in reversed(events)
            if event["event"] == "started" and not wrong_field(event, _STARTED)
        ]

    def model(self, name: str) -> str:
        """What a model was called when it was extracted: of a folder, where it was."""
        settings = (event["settings"] for event in self._started)
        told = (str(one.get("model", "")) for one in settings if is_extraction(one))
        return next((one for one in told if one and model_name(one) == name), name)

    def options_of_sample(self, sample: str) -> tuple[str, ...]:
        """What chose the texts of a token sample."""
        for event in self._started:
            options = dict(pairwise(event["command"]))
            if "--tokens" in options and options.get("--tokens-name", "sample") == sample:
                given = [name for name in _OF_SAMPLE if name in options]
                return tuple(part for name in given for part in (name, options[name]))
        return ("--tokens", "AS_BEFORE")


def remedy_of(group: CheckpointGroup, array: str, past: Past, suite: str = "") -> Remedy:
    """The extraction that makes a checkpoint's array, or its head, again.

    suite: whose texts; all for an empty one. A pooling is always named, as extract would add
    others; one that is complete costs nothing.
    """
    named = array.removesuffix(_POOL) if array.endswith(_POOL) else ""
    sample = array.split("/")[1] if array.startswith("tokens/") else ""
    of_suite = ("--suite", suite) if suite else ()
    return Remedy(
        store=group.storage.url,
        model=past.model(group.model),
        settings=_settings(group),
        texts=past.options_of_sample(sample) if sample else of_suite,
        sample=sample,
        checkpoints=(group.checkpoint,),
        poolings=(named,) if named else tuple(group.poolings()[:1]) or ("mean",),
        text_values=array in TEXT_VALUES,
        head=array == "head",
    )


def commands_of(remedies: Iterable[Remedy]) -> list[str]:
    """As few commands as make all of it: one for all arrays and checkpoints that go together."""
    of_one: dict[Remedy, Remedy] = {}
    for one in remedies:
        scope = replace(one, poolings=(), text_values=False, head=False)
        of_one[scope] = _with_arrays(of_one.get(scope, one), one)
    joined: dict[Remedy, Remedy] = {}
    for one in of_one.values():
        scope = replace(one, checkpoints=())
        there = joined.get(scope, scope).checkpoints
        joined[scope] = replace(one, checkpoints=(*there, *one.checkpoints))
    return [one.command() for one in joined.values()]


def repair(store: str) -> str:
    """The command that marks what is damaged to be done again."""
    return f"actstore verify {shlex.quote(store)} --repair"


def restore(key: str) -> str:
    """What to do about an object that no command makes again."""
    return f"restore {key} from a copy"


def _with_arrays(one: Remedy, other: Remedy) -> Remedy:
    return replace(
        one,
        poolings=tuple(dict.fromkeys([*one.poolings, *other.poolings])),
        text_values=one.text_values or other.text_values,
        head=one.head or other.head,
    )


def _settings(group: CheckpointGroup) -> tuple[str, ...]:
    """Options without which an extraction could have another plan than the checkpoint."""
    spec, options = group.spec, ["--max-tokens", str(group.spec.max_tokens)]
    if spec.layers != tuple(range(spec.n_blocks + 1)):
        options += ["--layers", ",".join(map(str, spec.layers))]
    if spec.dtype != "float16":
        options += ["--dtype", spec.dtype]
    if spec.precision != EXACT:
        options += ["--precision", spec.precision]
    return tuple(options)
