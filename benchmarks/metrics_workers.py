"""Two Dask workers against one: wall time of the same metrics of the same store.

Each worker is a process with one thread, and one BLAS thread; a store is made for each run, since
values that a store has are not computed again. Workers are started before, and have imported what
they need in a first, small run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from distributed import LocalCluster

from actstore.metrics import MetricsRequest, compute_metrics
from actstore.store import Store, create_store
from benchmarks.evaluate_rows import MODEL, Rows
from benchmarks.evaluate_store import add_states
from benchmarks.timing import Row, paired_costs, ratios

METRICS = ("effective_rank", "participation_ratio", "dataset_entropy", "top_pc_share")


def workers_rows(
    folder: Path, *, rows: int, hidden: int, layers: int, rounds: int
) -> Iterator[Row]:
    """layers: each is a job; as many as 12 are shared out evenly enough."""
    store = _store(folder / "workers.zarr", rows, hidden, layers)
    with _cluster(1) as one, _cluster(2) as two:
        addresses = {"one worker": one.scheduler_address, "two workers": two.scheduler_address}
        for address in addresses.values():
            _measure(store, address, layers="0")
        cases = {
            name: lambda address=address: _measure(store, address)
            for name, address in addresses.items()
        }
        costs = paired_costs(cases, rounds)
    gain = ratios(costs["one worker"], costs["two workers"]).wall
    work = f"{layers} layers of {rows:,} x {hidden}"
    yield Row(f"two Dask workers against one ({work})", "≥ 1.7 x", f"{gain:.2f} x as fast")


def _store(path: Path, rows: int, hidden: int, layers: int) -> Store:
    store = create_store(path)
    store.add_texts([f"{i % 97} {i}" for i in range(rows)])
    add_states(store, [Rows(hidden, seed) for seed in range(layers)], "float32")
    return store


def _measure(store: Store, address: str, layers: str = "all") -> None:
    request = MetricsRequest(MODEL, layers=layers, metrics=METRICS, dask=address, overwrite=True)
    compute_metrics(store, request)


def _cluster(workers: int) -> LocalCluster:
    return LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0")
