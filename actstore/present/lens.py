"""What `actstore lens` prints and writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.markup import escape

from actstore.present.terminal import lines, table

if TYPE_CHECKING:
    from actstore.metrics.lens.milestones import Milestones
    from actstore.metrics.running.reading import LensReading


def show_readings(readings: Sequence[LensReading]) -> None:
    """A table a position: what each layer would say next, and from which layer on it is settled."""
    for reading in readings:
        lines(
            f"{reading.text!r}",
            f"{reading.model} at {reading.checkpoint}, lens {reading.lens}, "
            f"token sample {reading.sample}",
        )
        if reading.cut:
            lines(f"The text was cut to its first {len(reading.tokens)} tokens when extracted.")
        for position, found in reading.milestones.items():
            _show_position(reading, position, found)
    lines(
        "entropy: of the layer's prediction, bits. KL: from it to the final one, KL(layer || "
        "final), bits. rank, p: of the token looked for. copy: the first token is surely one of "
        "the text so far."
    )


def write_readings(
    readings: Sequence[LensReading], csv: Path | None, json_file: Path | None
) -> None:
    """All lines to a CSV file, all readings with their milestones to a JSON file."""
    from actstore.metrics.running.reading import reading_json, reading_table

    if csv is not None:
        reading_table(readings).to_csv(csv, index=False)
        lines(f"{csv} written.")
    if json_file is not None:
        documents = [{"prompt_id": i, **reading_json(one)} for i, one in enumerate(readings)]
        text = json.dumps(documents, ensure_ascii=False, indent=1, allow_nan=False)
        json_file.write_text(text + "\n", "utf-8")
        lines(f"{json_file} written.")


def _show_position(reading: LensReading, position: int, found: Milestones) -> None:
    told = reading.table[reading.table["pos"] == position]
    answer = told["answer"].iloc[0]
    looked_for = "" if answer is None else f", looking for {answer!r}"
    title = f"After token {position}, {reading.tokens[position]!r}{looked_for}"
    headings = ["layer", "next tokens", "entropy", "KL", *([] if answer is None else ["rank", "p"])]
    rows = [_cells(line, answer is not None) for _, line in told.iterrows()]
    table(headings, rows, title=escape(title))
    lines(_milestones(found))


def _cells(line: pd.Series[Any], with_gold: bool) -> list[object]:
    cells: list[object] = [
        int(line["layer"]),
        escape(_next_tokens(line)),
        _number(line["entropy_bits"]),
        _number(line["kl_to_final_bits"]),
    ]
    if with_gold:
        rank = line["answer_rank"]
        cells += ["–" if pd.isna(rank) else int(rank), _number(line["p_answer"], 4)]
    return cells


def _next_tokens(line: pd.Series[Any]) -> str:
    """`' the' 0.31  ' a' 0.12`, and whether it is a copy."""
    places = [name.removeprefix("prob") for name in map(str, line.index) if name.startswith("prob")]
    named = [
        f"{line[f'top{k}']!r} {line[f'prob{k}']:.2f}" for k in places if line[f"top{k}"] is not None
    ]
    return "  ".join([*named, *(["copy"] if line["copy_collapse"] is True else [])]) or "–"


def _milestones(found: Milestones) -> str:
    said = {
        "copy": found.l_copy,
        "entropy ≤ 1 bit": found.l_copy_entropy,
        **{f"KL ≤ {bits:g}": layer for bits, layer in found.first_kl_below.items()},
        **{f"rank ≤ {k}": layer for k, layer in found.first_rank_le.items()},
    }
    reached = [f"{name} at {layer}" for name, layer in said.items() if layer is not None]
    never = [name for name, layer in said.items() if layer is None]
    return "First layers: " + "; ".join(
        [", ".join(reached) or "none", *([f"never: {', '.join(never)}"] if never else [])]
    )


def _number(value: float, digits: int = 2) -> str:
    return "–" if value != value else f"{value:.{digits}f}"
