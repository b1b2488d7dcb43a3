"""The commands that make again what was damaged, and nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from actstore.store.runs import run_events
from actstore.store.schema import TEXT_VALUES
from actstore.store.shards import EXACT

if TYPE_CHECKING:
    from actstore.store.checkpoint import CheckpointGroup

_POOL = "_pool"
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


def remedy_of(group: CheckpointGroup, array: str, suite: str = "") -> Remedy:
    """The extraction that makes a checkpoint's array, or its head, again.

    suite: whose texts; all for an empty one. A pooling is always named, as extract would add
    others; one that is complete costs nothing.
    """
    named = array.removesuffix(_POOL) if array.endswith(_POOL) else ""
    sample = array.split("/")[1] if array.startswith("tokens/") else ""
    of_suite = ("--suite", suite) if suite else ()
    return Remedy(
        store=group.storage.url,
        model=group.model,
        settings=_settings(group),
        texts=_options_of_sample(group, sample) if sample else of_suite,
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


def _options_of_sample(group: CheckpointGroup, sample: str) -> tuple[str, ...]:
    """What chose the texts of a sample, as the run log has it; otherwise a place to fill in."""
    for event in reversed(run_events(group.storage)):
        command = event.get("command", []) if event["event"] == "started" else []
        options = dict(pairwise(command))
        if "--tokens" in options and options.get("--tokens-name", "sample") == sample:
            return tuple(
                part for name in _OF_SAMPLE if name in options for part in (name, options[name])
            )
    return ("--tokens", "AS_BEFORE")
