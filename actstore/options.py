"""Options of the command line that several commands share, or that are long to say."""

from __future__ import annotations

from typing import Annotated

import typer

StoreArgument = Annotated[
    str, typer.Argument(metavar="STORE", help="Path or URL: pythia.zarr, s3://bucket/pythia.zarr.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(help="Hub name or folder. May be left out where the store holds one model."),
]
CheckpointsOption = Annotated[
    str, typer.Option(help="As for extract; all that the store holds if left out.")
]
DaskOption = Annotated[
    str | None,
    typer.Option(
        "--dask",
        help="Compute on Dask workers: local (--workers processes), slurm (jobs, see --cluster), "
        "or the address of a scheduler: tcp://node1:8786.",
    ),
]
ClusterOption = Annotated[
    str | None,
    typer.Option("--cluster", help="Profile of the cluster that --dask slurm starts jobs on."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
ModelNameOption = Annotated[str, typer.Option("--model", help="Hub name or folder.")]
RevisionsOption = Annotated[
    str,
    typer.Option(
        "--checkpoints",
        help="Comma-separated: names, step1*000, step1000:step143000:1000, last:50, pythia-all, "
        "pythia-log.",
    ),
]
LayersOption = Annotated[str, typer.Option("--layers", help="all | 0,3,6 | 15-23 | -4:")]
PoolingOption = Annotated[
    str,
    typer.Option(
        "--pooling", help="Comma-separated: mean, last, first, weighted_mean, max; each _normed."
    ),
]
MaxTokensOption = Annotated[
    int | None,
    typer.Option(
        "--max-tokens", min=1, help="Cut longer texts; the model's positions if left out."
    ),
]
TokensOption = Annotated[
    str | None,
    typer.Option(
        "--tokens",
        help="Also store every token of some texts: 200 (of all), 20/task, all, or a file.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Chooses the texts of --tokens.")]
TokenMetricsOption = Annotated[
    bool,
    typer.Option("--token-metrics", help="Also store every text's prompt entropy and curvature."),
]
DtypeOption = Annotated[
    str, typer.Option("--dtype", help="Of the stored states: float16, float32, auto.")
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision", help="How states are stored: exact, compact, small (docs/precision.md)."
    ),
]
RemoteCodeOption = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run the model's own code.")
]
PickledOption = Annotated[
    bool, typer.Option("--pickled-weights", help="Read pytorch_model.bin, which can run code.")
]
SUITE_HELP = (
    "A suite (see `actstore suites`), a suite file (.yaml), an mteb benchmark, or mteb tasks: "
    "STS12,STS17[en-en]."
)
