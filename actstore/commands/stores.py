"""Commands that say what is in a store, how far it is, and whether it is sound.

Each reads options, calls one function and prints what it returns.
"""

from __future__ import annotations

from typing import Annotated

import typer

from actstore.errors import InvalidInputError
from actstore.options import (
    CheckpointsOption,
    JsonOption,
    ModelOption,
    PickledOption,
    RemoteCodeOption,
    StoreArgument,
)


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
    quick: Annotated[
        bool, typer.Option(help="Only sizes, indices and small documents, not the data.")
    ] = False,
    deep: Annotated[
        str | None,
        typer.Option(
            help="Also extract so many shards again, chosen at random: 20, or 0.5% of all."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses the shards of --deep.")] = 0,
    repair: Annotated[
        bool, typer.Option(help="Remove what is damaged and can be made again.")
    ] = False,
    model: ModelOption = None,
    checkpoints: CheckpointsOption = "",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Objects looked at at once; the cores if left out.")
    ] = None,
    trust_remote_code: RemoteCodeOption = False,
    pickled_weights: PickledOption = False,
    json: JsonOption = False,
) -> None:
    """Compare what is in a store with what was written there, byte by byte.

    Ends with 0 if all is sound, with 4 if something is damaged.
    """
    from actstore.inputs import names
    from actstore.present.terminal import as_json
    from actstore.present.verify import as_document, show_recomputed, show_verification
    from actstore.store import open_store, verify_store

    if quick and deep is not None:
        raise InvalidInputError("Give --quick or --deep, not both.")
    opened, chosen = open_store(store), names(checkpoints)
    report = verify_store(
        opened, quick=quick, repair=repair, threads=threads, model=model, checkpoints=chosen
    )
    again = []
    if deep is not None and not report.problems:
        from actstore.extract import recompute

        again = recompute(
            opened,
            deep,
            seed=seed,
            model=model,
            checkpoints=chosen,
            trust_remote_code=trust_remote_code,
            pickled_weights=pickled_weights,
        )
    if json:
        as_json(as_document(report, again))
    else:
        show_verification(report)
        if deep is not None:
            show_recomputed(again)
    if report.problems or not all(one.agrees for one in again):
        raise typer.Exit(4)
