"""What a check of a store says: what is damaged, whom it concerns, and what repairs it."""

from __future__ import annotations

from dataclasses import dataclass, field

from actstore.store.verify.remedies import Remedy, commands_of


@dataclass(frozen=True)
class Problem:
    """One damaged or missing object, in the user's words."""

    key: str
    what: str
    """What is wrong with it."""
    array: str
    """What it is part of: `mean_pool`, `tokens/sample/states`, `head`, `lenses/affine`, `texts`."""
    remade: bool
    """Whether `--repair` removes it, so that a command makes it again; if not, restore a copy."""
    command: str
    """Repairs it."""
    model: str = ""
    """Empty where it belongs to no model: texts, tasks, results."""
    checkpoint: str = ""
    rows: tuple[int, int] | None = None
    """Of a shard: the first, and the one behind the last. Tokens, of a token sample."""
    layers: tuple[int, ...] = ()
    """Those with damaged chunks."""
    n_texts: int = 0
    """Texts whose values cannot be read."""
    tasks: tuple[str, ...] = ()
    """Tasks that use any of these texts."""
    remedy: Remedy | None = field(default=None, repr=False, compare=False)
    """What `command` says, if it can be said together with others'."""


@dataclass(frozen=True)
class Note:
    """Something that is no damage."""

    what: str
    n: int
    """Of how many objects it is said."""
    example: str
    """The key of one."""


@dataclass(frozen=True)
class Repaired:
    """What `--repair` did about one object."""

    key: str
    what: str
    """`removed`, or why it was left alone."""


@dataclass(frozen=True)
class VerifyReport:
    """What was looked at and what was found."""

    n_shards: int
    n_bytes: int
    """Of the shards."""
    n_heads: int
    """Lens heads."""
    n_lenses: int
    """Fitted lenses."""
    problems: tuple[Problem, ...]
    notes: tuple[Note, ...] = ()
    suites: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The tasks of each suite, to say which suites are concerned."""
    repaired: tuple[Repaired, ...] = ()

    def commands(self) -> list[str]:
        """What repairs everything that can be made again: as few commands as will do."""
        remedies = [one.remedy for one in self.problems if one.remedy is not None]
        others = [one.command for one in self.problems if one.remade and one.remedy is None]
        return [*commands_of(remedies), *dict.fromkeys(others)]
