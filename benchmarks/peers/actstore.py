"""actstore, as the peers are run: a whole extraction, from texts to a store of float32 states.

What an extraction of one text takes is left out, as loading the model is of the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from actstore.extract import ExtractionRequest, extract
from actstore.store import create_store, open_store
from benchmarks.peers.protocol import VECTORS, Meter, Outcome, read_task, report


def main() -> None:
    task = read_task()
    request = ExtractionRequest(
        str(task.model),
        poolings=("mean", "mean_normed"),
        max_tokens=task.max_tokens,
        dtype="float32",
        devices="cpu",
        threads=task.threads,
        lens_head=False,
    )
    texts, stores = task.read_texts(), [task.folder / f"{name}.zarr" for name in ("all", "one")]
    outcome = _extract(request, texts, stores[0])
    report(outcome.less(_extract(request, texts[:1], stores[1])))
    store = open_store(stores[0])
    group = store.checkpoint(store.only_model(), "main")
    rows = store.text_rows()  # a new store's are in the order of the texts
    vectors = [group.read("mean", layer, rows) for layer in group.spec.layers]
    np.save(task.folder / VECTORS, np.stack(vectors))


def _extract(request: ExtractionRequest, texts: list[str], path: Path) -> Outcome:
    """A whole extraction; memory is counted from where the model is loaded."""
    meter = Meter()
    _mark_first_forward(meter)
    store = create_store(path)
    store.add_texts(texts)
    return meter.outcome(extract(store, request).checkpoints[0].n_tokens)


def _mark_first_forward(meter: Meter) -> None:
    """Count memory from the first time any module runs: by then the model is loaded."""

    def mark(*_: Any) -> None:
        handle.remove()
        meter.mark_loaded()

    handle = torch.nn.modules.module.register_module_forward_pre_hook(mark)


if __name__ == "__main__":
    main()
