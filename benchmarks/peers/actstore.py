"""actstore, as the peers are run: a whole extraction, from texts to a store of float32 states."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from actstore.extract import ExtractionRequest, extract
from actstore.store import create_store
from benchmarks.peers.protocol import VECTORS, Meter, read_task, report


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
    meter, texts = Meter(), task.read_texts()
    _mark_first_forward(meter)
    store = create_store(task.folder / "store.zarr")
    store.add_texts(texts)
    done = extract(store, request).checkpoints[0]
    outcome = meter.outcome(done.n_tokens)
    group = store.checkpoint(store.only_model(), "main")
    rows = store.text_rows()  # a new store's are in the order of the texts
    vectors = [group.read("mean", layer, rows) for layer in group.spec.layers]
    np.save(task.folder / VECTORS, np.stack(vectors))
    report(outcome)


def _mark_first_forward(meter: Meter) -> None:
    """Count memory from the first time any module runs: by then the model is loaded."""

    def mark(*_: Any) -> None:
        handle.remove()
        meter.mark_loaded()

    handle = torch.nn.modules.module.register_module_forward_pre_hook(mark)


if __name__ == "__main__":
    main()
