"""All layers on a GPU against the bare forward, in bfloat16, and the share of its peak used.

Compared is what an extraction takes less what it takes for few texts (loading, starting), with the
bare forward over the same batches. The texts are longer than on the CPU: short ones through a small
model make vectors faster than a disk takes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch
import transformers

from actstore.extract import ExtractionRequest, extract
from benchmarks.extract_floor import EXTRACT, FLOOR, fresh_store, planned_batches
from benchmarks.timing import Cases, Row, paired_costs, ratios
from benchmarks.workload import Lengths, Settings, Shape, Workload, make_workload, save_model

SHAPE = Shape(blocks=24, hidden=1024, heads=16)
"""Of Pythia-410m."""
LENGTHS = Lengths(median=150, p95=600, longest=1024)
PEAK_TFLOPS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "A10": 125}
"""Of dense bfloat16 matrix products, from NVIDIA's data sheets, by what the device's name has."""
_TEXTS = 20_000
_FEW = 64
_SMALL = "actstore extract, few texts"


def gpu_rows(settings: Settings) -> list[Row]:
    what, target = f"all layers against the bare forward, bfloat16 ({SHAPE})", "≤ 1.05 x time"
    if not torch.cuda.is_available():
        return [Row(what, target, "not run: there is no CUDA device here")]
    folder = settings.folder / "gpu"
    save_model(folder / "model", SHAPE, torch.bfloat16)
    longer = replace(settings, folder=folder, shape=SHAPE, lengths=LENGTHS, max_tokens=1024)
    work = make_workload(longer, _TEXTS)
    cases, flops = gpu_cases(longer, work, "cuda:0")
    cases[FLOOR]()  # kernels are chosen and memory is reserved in the first pass
    costs = paired_costs(cases, settings.rounds)
    passes = [many - few for many, few in zip(costs[EXTRACT], costs[_SMALL], strict=True)]
    found = ratios(passes, costs[FLOOR])
    used = flops / median(one.wall for one in passes) / 1e12
    return [Row(what, target, f"{found.wall:.2f} x time, {_of_peak(used)}")]


def gpu_cases(settings: Settings, work: Workload, device: str) -> tuple[Cases, float]:
    """The cases, and the model FLOPs of a pass over all texts."""
    model = transformers.AutoModel.from_pretrained(work.model, dtype=torch.bfloat16).eval()
    model.to(device)
    tokenizer = transformers.AutoTokenizer.from_pretrained(work.model)
    runs = planned_batches(settings, tokenizer, work.texts)

    @torch.inference_mode()
    def bare() -> None:
        for ids in runs:
            model(input_ids=ids.to(device, non_blocking=True), use_cache=False)
        if device != "cpu":
            torch.cuda.synchronize()

    few = Workload(work.model, work.texts[:_FEW])
    cases = {
        FLOOR: bare,
        EXTRACT: _extraction(settings, work, device),
        _SMALL: _extraction(settings, few, device),
    }
    encoded = tokenizer(work.texts, truncation=True, max_length=settings.max_tokens)["input_ids"]
    return cases, model_flops(settings.shape, [len(ids) for ids in encoded])


def model_flops(shape: Shape, lengths: list[int]) -> float:
    """Of a forward without the head over texts of these lengths, padding not counted.

    Two for each weight and token, and four x width for each pair of tokens and block.
    Source: Chowdhery et al. 2022, https://arxiv.org/abs/2204.02311, appendix B.
    """
    weights = 12 * shape.blocks * shape.hidden**2
    pairs = sum(n * n for n in lengths)
    return float(2 * weights * sum(lengths) + 4 * shape.blocks * shape.hidden * pairs)


def _extraction(settings: Settings, work: Workload, device: str) -> Callable[[], object]:
    request = ExtractionRequest(
        str(work.model),
        max_tokens=settings.max_tokens,
        devices=device,
        compute_dtype="bfloat16",
        lens_head=False,
    )
    return lambda: extract(fresh_store(settings.folder / "store.zarr", work.texts), request)


def _of_peak(tflops: float) -> str:
    name = torch.cuda.get_device_name()
    peak = next((peak for known, peak in PEAK_TFLOPS.items() if known in name), None)
    share = f", {tflops / peak:.0%} of the peak" if peak else ""
    return f"{tflops:.0f} TFLOP/s of the model's own{share} ({name})"
