"""Commands that say what is in a store, how far it is, and whether it is sound.

Each reads options, calls one function and prints what it returns.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from actstore.options import JsonOption, StoreArgument


def info(store: StoreArgument, json: JsonOption = False) -> None:
    """Say what a store holds: texts, tasks, models, checkpoints, layers, poolings."""
    from actstore.present.status import show_info
    from actstore.present.terminal import as_json
    from actstore.store import describe_store, open_store

    described = describe_store(open_store(store))
    as_json(described) if json else show_info(described)


def status(store: StoreArgument, json: JsonOption = False) -> None:
    """Say how far extraction and evaluation are, who is at work, and what went wrong."""
    from actstore.present.status import show_evaluation_status, show_status
    from actstore.present.terminal import as_json
    from actstore.store import evaluation_status, extraction_status, open_store

    opened = open_store(store)
    extracted, evaluated = extraction_status(opened), evaluation_status(opened)
    if json:
        as_json({**asdict(extracted), "evaluation": asdict(evaluated)})
    else:
        show_status(extracted)
        show_evaluation_status(evaluated)


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
