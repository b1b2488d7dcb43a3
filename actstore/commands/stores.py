"""Commands that say what is in a store, how far it is, and whether it is sound.

Each reads options, calls one function and prints what it returns.
"""

from __future__ import annotations

from typing import Annotated

import typer

from actstore.errors import InvalidInputError
from actstore.options import JsonOption, StoreArgument


def info(store: StoreArgument, json: JsonOption = False) -> None:
    """Say what a store holds: texts, tasks, models, checkpoints, layers, poolings."""
    from actstore.present.status import show_info
    from actstore.present.terminal import as_json
    from actstore.store import describe_store, open_store

    described = describe_store(open_store(store))
    as_json(described) if json else show_info(described)


def status(
    where: Annotated[
        str,
        typer.Argument(
            metavar="STORE|FILE", help="A store, or an experiment file, which gives totals too."
        ),
    ],
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again and again, until all is done.")
    ] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 10.0,
    json: JsonOption = False,
) -> None:
    """Say how far every stage is, how fast, until when; jobs, who is at work, what went wrong.

    `--watch` ends with 0 when all is done, with 1 when something failed and nobody is at work.
    """
    from actstore.experiment.standing import standing_of
    from actstore.experiment.watching import show_standing, watch_standing
    from actstore.present.terminal import as_json

    if watch and json:
        raise InvalidInputError("Give --watch or --json, not both: JSON is of one moment.")
    if watch:
        last = watch_standing(lambda: standing_of(where), every)
        raise typer.Exit(1 if last.failed else 0)
    standing = standing_of(where)
    as_json(standing.to_json()) if json else show_standing(standing)


def verify(
    store: StoreArgument,
    quick: Annotated[bool, typer.Option(help="Only sizes and plans, no checksums.")] = False,
    repair: Annotated[bool, typer.Option(help="Remove damaged shards, to be made again.")] = False,
    json: JsonOption = False,
) -> None:
    """Check every committed shard against its commit record."""
    from actstore.present.status import show_problems
    from actstore.present.terminal import as_json
    from actstore.store import open_store, verify_store

    report = verify_store(open_store(store), quick=quick, repair=repair)
    as_json(report) if json else show_problems(report)
    if report.problems:
        raise typer.Exit(4)
