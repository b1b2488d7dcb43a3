"""The command that searches for the best checkpoint and layer.

It reads options, calls one function and prints what it returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actstore.errors import InvalidInputError
from actstore.inputs import names
from actstore.options import SUITE_HELP, JsonOption, LayersOption, ModelOption
from actstore.stopping import stop_on_signals

if TYPE_CHECKING:
    from actstore.experiment.searching import SearchState


@stop_on_signals()
def search(
    store: Annotated[
        str | None, typer.Argument(metavar="[STORE]", help="Not needed with --replay.")
    ] = None,
    suite: Annotated[str | None, typer.Option(help=SUITE_HELP)] = None,
    model: ModelOption = None,
    checkpoints: Annotated[
        str, typer.Option(help="To choose from, as for extract; those stored if left out.")
    ] = "",
    layers: LayersOption = "all",
    pooling: Annotated[str, typer.Option(help="One.")] = "mean_normed",
    objective: Annotated[
        str, typer.Option(help="mean of the suite, zscore against the final checkpoint, or a task.")
    ] = "mean",
    budget: Annotated[
        int | None,
        typer.Option(min=1, help="Stop at so many scores, those already in the store included."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Scores chosen at a time.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes that score.")] = 1,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=1, help="Stop once the best is found this surely.")
    ] = 0.95,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0, help="Better by less is no better; 0.003 if left out, 0.05 of a z-score."
        ),
    ] = None,
    extraction_cost: Annotated[
        float,
        typer.Option(min=0, help="Of a checkpoint, in evaluations of one layer on all tasks."),
    ] = 3.0,
    race: Annotated[
        bool, typer.Option("--race/--no-race", help="Score single tasks, or all of a layer.")
    ] = True,
    devices: Annotated[str, typer.Option(help="That extract: auto, all, cuda:0,1, cpu.")] = "auto",
    propose_only: Annotated[
        bool, typer.Option("--propose-only", help="Say what would be scored next, and stop.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Chooses the first arms.")] = 0,
    replay: Annotated[
        Path | None, typer.Option(help="A finished table of scores (.csv, .parquet) to try it on.")
    ] = None,
    metrics: Annotated[
        Path | None, typer.Option(help="With --replay: metrics of its arms.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="With --replay: how often.")] = 20,
    halves: Annotated[
        bool, typer.Option("--halves", help="With --replay: each time on a random half of tasks.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Find the best checkpoint and layer while scoring few: extracts and evaluates what it needs.

    The scores in the store are all that it remembers: run it again to go on.
    """
    if replay is not None:
        _replay(replay, metrics, seeds, halves, json)
        return
    if store is None or suite is None:
        raise InvalidInputError(
            "Say where and on what: actstore search STORE --suite SUITE, or --replay TABLE."
        )
    from actstore.experiment.searching import SearchRequest, propose, run_search
    from actstore.present.search import show_search_heading
    from actstore.present.terminal import as_json
    from actstore.store import open_store

    opened = open_store(store)
    request = SearchRequest(
        model=model or opened.only_model(),
        suite=suite,
        checkpoints=names(checkpoints),
        layers=layers,
        pooling=pooling,
        objective=objective,
        budget=budget,
        batch=batch,
        confidence=confidence,
        tolerance=tolerance,
        extraction_cost=extraction_cost,
        race=race,
        seed=seed,
        workers=workers,
        devices=devices,
    )
    shown: list[bool] = []

    def say(state: SearchState) -> None:
        if not json:
            if not shown:
                show_search_heading(state.n_all)
            shown.append(True)
            _show(state)

    state = propose(opened, request) if propose_only else run_search(opened, request, say)
    if json:
        as_json(state)
    else:
        say(state)
        _show_end(state)


def _show(state: SearchState) -> None:
    from actstore.present.search import show_search_round

    best = "" if state.checkpoint is None else f"{state.checkpoint}, layer {state.layer}"
    belief = state.expected, state.sd, state.confidence
    following = [(one.checkpoint, one.layer, one.tasks) for one in state.next]
    show_search_round(state.n_scores, best, belief, following)


def _show_end(state: SearchState) -> None:
    from actstore.present.terminal import lines

    if state.ended:
        best = f"Best: {state.checkpoint}, layer {state.layer}, found with"
        found = "Too few to name the best:" if state.checkpoint is None else best
        lines(f"Ended: {state.ended}. {found} {state.n_scores:,} of {state.n_all:,} scores.")
    if state.failures:
        lines(f"{state.failures:,} scores could not be had; actstore status shows why.")


def _replay(table: Path, metrics: Path | None, seeds: int, halves: bool, json: bool) -> None:
    from actstore.present.scores import records
    from actstore.present.search import show_replays
    from actstore.present.terminal import as_json
    from actstore.search.trials import read_metrics, read_scores, summary, trials

    scores = read_scores(table)
    known = None if metrics is None else read_metrics(metrics)
    found = summary(trials(scores, known, seeds=range(seeds), halves=halves))
    if json:
        as_json(records(found.reset_index()))
    else:
        what = "random halves of the tasks" if halves else "all tasks"
        show_replays(found, f"{table.name}, {seeds} seeds, {what}")
