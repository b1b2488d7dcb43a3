"""Commands that plan extractions and run them.

Each reads options, calls one function and prints what it returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actstore.inputs import names, rows_of_suite, texts_to_extract, token_sample
from actstore.options import (
    SUITE_HELP,
    DtypeOption,
    JsonOption,
    LayersOption,
    MaxTokensOption,
    ModelNameOption,
    PickledOption,
    PoolingOption,
    PrecisionOption,
    RemoteCodeOption,
    RevisionsOption,
    SeedOption,
    StoreArgument,
    TokenMetricsOption,
    TokensOption,
)
from actstore.stopping import stop_on_signals


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
    precision: PrecisionOption = "exact",
    trust_remote_code: RemoteCodeOption = False,
    json: JsonOption = False,
) -> None:
    """Say what an extraction would write and cost, without loading weights."""
    from actstore.extract import ExtractionRequest, plan_extraction
    from actstore.present.terminal import as_json, lines, warn
    from actstore.store import open_store

    opened = open_store(store)
    rows = None if suite is None else rows_of_suite(opened, suite)
    request = ExtractionRequest(
        model=model,
        checkpoints=names(checkpoints),
        layers=layers,
        poolings=names(pooling),
        rows=rows,
        max_tokens=max_tokens,
        dtype=dtype,
        precision=precision,
        token_sample=token_sample(opened, tokens, rows, suite, seed, say=warn),
        token_metrics=token_metrics,
        trust_remote_code=trust_remote_code,
    )
    planned = plan_extraction(opened, request)
    if json:
        as_json(planned)
    else:
        lines(planned.summary())


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
    precision: PrecisionOption = "exact",
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
    pickled_weights: PickledOption = False,
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
    from actstore.present.reports import show_extraction
    from actstore.present.terminal import lines, warn

    opened, rows = texts_to_extract(store, suite, texts, column)
    request = ExtractionRequest(
        model=model,
        checkpoints=names(checkpoints),
        layers=layers,
        poolings=names(pooling),
        rows=rows,
        max_tokens=max_tokens,
        dtype=dtype,
        precision=precision,
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
