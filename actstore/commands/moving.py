"""Commands that move stores, or parts of them, and drop what is no longer wanted.

Each reads options, makes one dataclass, calls one function and prints what it returns.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from actstore.errors import InvalidInputError
from actstore.inputs import names
from actstore.options import JsonOption, StoreArgument

if TYPE_CHECKING:
    from actstore.store.moving.dropping import DropPlan

_Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="A path or s3://BUCKET/NAME.zarr; made if new.")
]
_Repo = Annotated[
    str, typer.Argument(metavar="REPO", help="USER/NAME of a dataset on the Hugging Face hub.")
]
_Model = Annotated[str | None, typer.Option("--model", help="Hub name; all models if left out.")]
_Checkpoints = Annotated[
    str, typer.Option("--checkpoints", help="As for extract; all that are stored if left out.")
]
_Verify = Annotated[
    bool, typer.Option("--verify/--no-verify", help="Read every byte again at the end.")
]
_Revision = Annotated[str, typer.Option("--revision", help="Branch of the repository.")]


def copy(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A path, s3://, hf://datasets/…, https:// or zip:// URL."
        ),
    ],
    target: _Target,
    model: _Model = None,
    checkpoints: _Checkpoints = "",
    layers: Annotated[str | None, typer.Option(help="all | 0,3,6 | 15-23 | -4:")] = None,
    pooling: Annotated[str, typer.Option(help="Comma-separated; all if left out.")] = "",
    tasks: Annotated[str | None, typer.Option(help="Only these tasks and their texts.")] = None,
    suite: Annotated[str | None, typer.Option(help="Only its tasks and their texts.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="exact | compact | small; as stored if left out.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float16 | float32; as stored if left out.")
    ] = None,
    states: Annotated[bool, typer.Option(help="States, samples, heads and lenses.")] = True,
    results: Annotated[bool, typer.Option(help="Scores and metrics.")] = True,
    verify: _Verify = True,
    dry_run: Annotated[bool, typer.Option(help="Say what would be written, and how much.")] = False,
    json: JsonOption = False,
) -> None:
    """Copy a store or part of it; run again, it goes on where it was stopped.

    Rows keep their numbers: all texts are copied, and of states the shards that hold any text that
    is asked for.
    """
    from actstore.present.moving import show_copy, show_copy_plan
    from actstore.present.terminal import as_json
    from actstore.store import open_store
    from actstore.store.moving import CopyRequest, copy_store, planned_copy

    if tasks is not None and suite is not None:
        raise InvalidInputError("Give --tasks or --suite, not both.")
    request = CopyRequest(
        model=model,
        checkpoints=names(checkpoints),
        layers=layers,
        poolings=names(pooling),
        texts=tasks or suite,
        precision=precision,
        dtype=dtype,
        states=states,
        results=results,
    )
    if dry_run:
        plan = planned_copy(open_store(source), target, request)
        as_json(plan) if json else show_copy_plan(plan)
        return
    report = copy_store(open_store(source), target, request, verify=verify)
    as_json(report) if json else show_copy(report)


def merge(
    target: _Target,
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE…", help="Stores to bring in.")],
    verify: _Verify = True,
    json: JsonOption = False,
) -> None:
    """Bring stores together that were made in different places; texts meet by their hash.

    What TARGET has stays; of scores and metrics the latest counts.
    """
    from actstore.present.moving import show_merge
    from actstore.present.terminal import as_json
    from actstore.store import open_store
    from actstore.store.moving import merge_stores

    report = merge_stores(target, [open_store(source) for source in sources], verify=verify)
    as_json(report) if json else show_merge(report)


def push(
    store: StoreArgument,
    repo: _Repo,
    revision: _Revision = "main",
    private: Annotated[bool, typer.Option(help="Make the repository private.")] = False,
    create_pr: Annotated[bool, typer.Option(help="Open a pull request.")] = False,
    results: Annotated[bool, typer.Option(help="Send scores and metrics too.")] = True,
    licence: Annotated[
        str, typer.Option("--license", help="For the card, as the hub names it: cc-by-4.0.")
    ] = "unknown",
    json: JsonOption = False,
) -> None:
    """Send a store to the Hugging Face hub as a dataset: only what is not there yet."""
    from actstore.present.moving import show_push
    from actstore.present.terminal import as_json
    from actstore.store import open_store
    from actstore.store.moving import PushRequest
    from actstore.store.moving import push as push_store

    request = PushRequest(
        repo=repo,
        revision=revision,
        private=private,
        create_pr=create_pr,
        results=results,
        licence=licence,
    )
    report = push_store(open_store(store), request)
    as_json(report) if json else show_push(report)


def pull(
    repo: _Repo,
    store: StoreArgument,
    revision: _Revision = "main",
    verify: _Verify = True,
    json: JsonOption = False,
) -> None:
    """Bring a store from the Hugging Face hub into a folder: only what is not there yet."""
    from actstore.present.moving import show_pull
    from actstore.present.terminal import as_json
    from actstore.store.moving import pull as pull_store

    report = pull_store(repo, store, revision=revision, verify=verify)
    as_json(report) if json else show_pull(store, report)


def drop(
    store: StoreArgument,
    checkpoints: Annotated[
        str, typer.Option("--checkpoints", help="Which: names, globs, ranges, last:50.")
    ],
    model: Annotated[
        str | None, typer.Option(help="May be left out where the store holds one model.")
    ] = None,
    pooling: Annotated[str, typer.Option(help="Only these poolings of them.")] = "",
    results: Annotated[bool, typer.Option("--results", help="Their results too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be removed.")] = False,
    json: JsonOption = False,
) -> None:
    """Remove checkpoints, or poolings of them, after asking. Scores and metrics stay."""
    from actstore.present.moving import show_drop_plan
    from actstore.present.terminal import as_json, lines, size
    from actstore.store import open_store
    from actstore.store.moving import DropRequest, plan_drop
    from actstore.store.moving import drop as drop_from

    opened = open_store(store)
    name = opened.only_model() if model is None else model
    request = DropRequest(name, names(checkpoints), names(pooling), results)
    plan = plan_drop(opened, request)
    as_json(plan) if json else show_drop_plan(store, plan)
    if dry_run:
        return
    if not yes:
        _ask(plan)
    drop_from(opened, request)
    if not json:
        lines(f"Removed {size(plan.n_bytes)}.")


def _ask(plan: DropPlan) -> None:
    """Go on only after a yes. Raises InvalidInputError where nobody can give one."""
    if not sys.stdin.isatty():
        raise InvalidInputError("Nobody is there to be asked: give --yes to remove all this.")
    typer.confirm(f"Remove {len(plan.checkpoints)} checkpoints for good?", abort=True)
