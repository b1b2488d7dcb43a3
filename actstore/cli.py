"""The command line. Each command reads options, calls one function and prints what it returns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actstore import __version__
from actstore.extract.workers.stopping import stop_on_signals
from actstore.inputs import (
    add_texts,
    collect_suite,
    names,
    store_for,
    texts_of,
    texts_to_extract,
    token_sample,
)
from actstore.options import (
    SUITE_HELP,
    CheckpointsOption,
    DtypeOption,
    JsonOption,
    LayersOption,
    MaxTokensOption,
    ModelNameOption,
    ModelOption,
    PoolingOption,
    RemoteCodeOption,
    RevisionsOption,
    SeedOption,
    StoreArgument,
    TokenMetricsOption,
    TokensOption,
)

app = typer.Typer(
    name="actstore",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Every layer of every checkpoint, extracted **once** into a Zarr store; MTEB scores, "
        "metrics and xarray queries from there, without running the model again."
    ),
    epilog=(
        "Exit codes: 0 done · 1 failed · 2 wrong input · 3 data missing from the store · "
        "4 damage found · 75 stopped by a signal, run it again · 130 interrupted. "
        "Set ACTSTORE_DEBUG=1 for tracebacks."
    ),
)


@app.command()
def collect(
    store: StoreArgument,
    suite: Annotated[str | None, typer.Option(help=SUITE_HELP)] = None,
    texts: Annotated[
        Path | None,
        typer.Option(help="A file of texts: .txt (one a line), .jsonl, .csv or .parquet."),
    ] = None,
    column: Annotated[str, typer.Option(help="Field of --texts that holds the text.")] = "text",
) -> None:
    """Put the texts of a suite, or of a file, into the store, so that GPU nodes need no mteb."""
    from actstore.present import lines

    if suite is None and texts is None:
        raise typer.BadParameter("give --suite or --texts")
    found = None if texts is None else texts_of(texts, column)
    opened = store_for(store, suite)
    if found is not None:
        rows = add_texts(opened, found)
        lines(f"{len(rows):,} texts of {texts} are in {opened.url}.")
    if suite is not None:
        report = collect_suite(opened, suite)
        lines(
            f"{report.suite}: {len(report.collected)} tasks collected, {len(report.skipped)} were "
            f"there; {report.new_texts:,} new texts in {opened.url}."
        )


@app.command()
def plan(
    store: StoreArgument,
    model: ModelNameOption,
    checkpoints: RevisionsOption = "main",
    layers: LayersOption = "all",
    pooling: PoolingOption = "mean,mean_normed",
    suite: Annotated[str | None, typer.Option(help=SUITE_HELP)] = None,
    max_tokens: MaxTokensOption = None,
    tokens: TokensOption = None,
    seed: SeedOption = 0,
    token_metrics: TokenMetricsOption = False,
    dtype: DtypeOption = "float16",
    trust_remote_code: RemoteCodeOption = False,
    json: JsonOption = False,
) -> None:
    """Say what an extraction would write and cost, without loading weights."""
    from actstore.extract import ExtractionRequest, plan_extraction
    from actstore.present import as_json, lines, warn
    from actstore.store import open_store

    opened = open_store(store)
    rows = None if suite is None else opened.rows_of_suite(suite)
    request = ExtractionRequest(
        model=model,
        checkpoints=names(checkpoints),
        layers=layers,
        poolings=names(pooling),
        rows=rows,
        max_tokens=max_tokens,
        dtype=dtype,
        token_sample=token_sample(opened, tokens, rows, suite, seed, say=warn),
        token_metrics=token_metrics,
        trust_remote_code=trust_remote_code,
    )
    planned = plan_extraction(opened, request)
    if json:
        as_json(planned)
    else:
        lines(planned.summary())


@app.command()
@stop_on_signals()
def extract(
    store: StoreArgument,
    model: ModelNameOption,
    checkpoints: RevisionsOption = "main",
    layers: LayersOption = "all",
    pooling: PoolingOption = "mean,mean_normed",
    suite: Annotated[str | None, typer.Option(help=SUITE_HELP)] = None,
    texts: Annotated[Path | None, typer.Option(help="A file of texts; see collect.")] = None,
    column: Annotated[str, typer.Option(help="Field of --texts that holds the text.")] = "text",
    max_tokens: MaxTokensOption = None,
    tokens: TokensOption = None,
    tokens_name: Annotated[
        str, typer.Option(help="What the store calls the texts of --tokens.")
    ] = "sample",
    seed: SeedOption = 0,
    token_metrics: TokenMetricsOption = False,
    lens_head: Annotated[bool, typer.Option(help="Also store the logit-lens head.")] = True,
    dtype: DtypeOption = "float16",
    compute_dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")] = "auto",
    devices: Annotated[
        str, typer.Option(help="auto, all, cuda:0,1, cpu, cpu:2 (two processes): a worker each.")
    ] = "auto",
    device_map: Annotated[
        str | None, typer.Option(help="auto, balanced: spread one model over all devices.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="CPU threads of a worker; on a shared node, fewer than its cores."
        ),
    ] = None,
    batch_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens of a batch, padding included.")
    ] = 16384,
    attn: Annotated[str | None, typer.Option(help="sdpa, eager, flash_attention_2.")] = None,
    packed: Annotated[
        bool | None,
        typer.Option("--packed/--padded", help="Run texts one behind the other, without padding."),
    ] = None,
    compile_: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    tf32: Annotated[
        bool, typer.Option("--tf32", help="Let float32 products round to TF32.")
    ] = False,
    pickled_weights: Annotated[
        bool, typer.Option(help="Read pytorch_model.bin, which can run code.")
    ] = False,
    trust_remote_code: RemoteCodeOption = False,
    same_weights: Annotated[
        bool, typer.Option("--same-weights", help="Go on though checkpoints hold equal weights.")
    ] = False,
    prune_cache: Annotated[
        bool, typer.Option("--prune-cache", help="Delete finished checkpoints from the hub cache.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what it would write and cost, and stop. Texts are added all the same.",
        ),
    ] = False,
) -> None:
    """Run every checkpoint once and store every layer's pooled states. Resumes where it stopped.

    The same command on more nodes, or under torchrun or srun, joins the same work.
    """
    from actstore.extract import ExtractionRequest, plan_extraction
    from actstore.extract import extract as run
    from actstore.present import lines, show_extraction, warn

    opened, rows = texts_to_extract(store, suite, texts, column)
    request = ExtractionRequest(
        model=model,
        checkpoints=names(checkpoints),
        layers=layers,
        poolings=names(pooling),
        rows=rows,
        max_tokens=max_tokens,
        dtype=dtype,
        compute_dtype=compute_dtype,
        devices=devices,
        device_map=device_map,
        threads=threads,
        batch_tokens=batch_tokens,
        attn=attn,
        packed=packed,
        compile=compile_,
        tf32=tf32,
        token_sample=token_sample(opened, tokens, rows, suite, seed, tokens_name, say=warn),
        token_metrics=token_metrics,
        lens_head=lens_head,
        pickled_weights=pickled_weights,
        trust_remote_code=trust_remote_code,
        same_weights=same_weights,
        prune_cache=prune_cache,
    )
    if dry_run:
        lines(plan_extraction(opened, request).summary())
    else:
        show_extraction(run(opened, request))


@app.command(name="eval")
def evaluate(
    store: StoreArgument,
    suite: Annotated[str, typer.Option(help=SUITE_HELP)],
    model: ModelOption = None,
    checkpoints: CheckpointsOption = "",
    layers: LayersOption = "all",
    pooling: Annotated[str, typer.Option(help="Comma-separated.")] = "mean_normed",
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    overwrite: Annotated[bool, typer.Option(help="Score again what was scored.")] = False,
) -> None:
    """Score MTEB tasks from the store, for every checkpoint and layer. No model is loaded."""
    from actstore.evaluate import EvaluationRequest
    from actstore.evaluate import evaluate as run
    from actstore.present import show_evaluation
    from actstore.store import open_store

    opened = open_store(store)
    request = EvaluationRequest(
        model=model or opened.only_model(),
        checkpoints=names(checkpoints),
        layers=layers,
        poolings=names(pooling),
        suite=suite,
        workers=workers,
        overwrite=overwrite,
    )
    report = run(opened, request)
    show_evaluation(report)
    if report.failures:
        raise typer.Exit(1)


@app.command()
def metrics(
    store: StoreArgument,
    metric: Annotated[
        str, typer.Option(help="Comma-separated; all that the stored data allow if left out.")
    ] = "",
    model: ModelOption = None,
    checkpoints: CheckpointsOption = "",
    layers: LayersOption = "all",
    pooling: Annotated[str, typer.Option(help="Comma-separated.")] = "mean",
    task: Annotated[str | None, typer.Option(help="Only over this task's texts.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Compute again what is there.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the metrics and stop.")] = False,
) -> None:
    """Compute label-free metrics of every checkpoint and layer, in parallel, from the store."""
    from actstore.metrics import MetricsRequest, compute_metrics, list_metrics
    from actstore.present import show_metrics, table
    from actstore.store import open_store

    if list_:
        table(["metric", "over", "unit", "reference"], list_metrics())
        return
    opened = open_store(store)
    request = MetricsRequest(
        model=model or opened.only_model(),
        checkpoints=names(checkpoints),
        layers=layers,
        metrics=names(metric),
        poolings=names(pooling),
        task=task,
        workers=workers,
        scheduler=scheduler,
        overwrite=overwrite,
    )
    show_metrics(compute_metrics(opened, request))


@app.command()
def info(store: StoreArgument, json: JsonOption = False) -> None:
    """Say what a store holds: texts, tasks, models, checkpoints, layers, poolings."""
    from actstore.present import as_json, show_info
    from actstore.store import describe_store, open_store

    described = describe_store(open_store(store))
    as_json(described) if json else show_info(described)


@app.command()
def status(store: StoreArgument, json: JsonOption = False) -> None:
    """Say how far extraction and evaluation are, who is at work, and what went wrong."""
    from actstore.present import as_json, show_status
    from actstore.store import extraction_status, open_store

    opened = open_store(store)
    found = extraction_status(opened)
    if json:
        as_json(found)
        return
    scores = opened.scores().groupby(["model", "checkpoint", "pooling"], sort=False)
    counts = scores.agg(layers=("layer", "nunique"), tasks=("task", "nunique")).reset_index()
    show_status(found, counts.itertuples(index=False))


@app.command()
def verify(
    store: StoreArgument,
    quick: Annotated[bool, typer.Option(help="Only sizes and plans, no checksums.")] = False,
    repair: Annotated[bool, typer.Option(help="Remove damaged shards, to be made again.")] = False,
    json: JsonOption = False,
) -> None:
    """Check every committed shard against its commit record."""
    from actstore.present import as_json, show_problems
    from actstore.store import open_store, verify_store

    report = verify_store(open_store(store), quick=quick, repair=repair)
    as_json(report) if json else show_problems(report)
    if report.problems:
        raise typer.Exit(4)


@app.command()
def suites(json: JsonOption = False) -> None:
    """List the suites and how many tasks each has."""
    from actstore.evaluate import list_suites
    from actstore.present import as_json, table

    listed = list_suites()
    if json:
        as_json(listed)
    else:
        rows = [(one.name, one.n_tasks, one.description) for one in listed]
        table(["suite", "tasks", "about"], rows)


@app.command()
def report(
    store: StoreArgument,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    model: ModelOption = None,
) -> None:
    """Draw score and metric heatmaps over checkpoints and layers, and the best layers."""
    from actstore.present import lines
    from actstore.report import write_report
    from actstore.store import open_store

    lines(*(str(path) for path in write_report(open_store(store), out, model=model)))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to work.")] = Path("actstore-demo"),
    workers: Annotated[int, typer.Option(min=1, help="Processes for evaluation.")] = 2,
) -> None:
    """Train a tiny model, then extract, evaluate, measure and report it. Needs no network."""
    from actstore.demo import run_demo
    from actstore.present import lines

    lines(run_demo(folder, workers=workers).summary())


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"actstore {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
