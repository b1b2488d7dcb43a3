"""The command that reads prompts layer by layer.

It reads options, calls one function a prompt and prints what it returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actstore.errors import InvalidInputError
from actstore.options import LayersOption, ModelOption, StoreArgument


def lens(
    store: StoreArgument,
    text: Annotated[str | None, typer.Option(help="A text of the store, to the character.")] = None,
    prompt_file: Annotated[
        Path | None,
        typer.Option(help="Texts, one a line; or .jsonl with the fields prompt and gold."),
    ] = None,
    model: ModelOption = None,
    checkpoint: Annotated[str | None, typer.Option(help="The last one if left out.")] = None,
    layers: LayersOption = "all",
    position: Annotated[
        str, typer.Option(help="After which token: last, all, or a number from 0.")
    ] = "last",
    gold: Annotated[
        str | None, typer.Option(help="The token to look for; the text's next one if left out.")
    ] = None,
    gold_id: Annotated[int | None, typer.Option(help="The same, by its id.")] = None,
    lens_: Annotated[
        str, typer.Option("--lens", help="final, next_block, raw, or one that was fitted.")
    ] = "final",
    tokens_name: Annotated[
        str | None, typer.Option(help="The token sample to read; the first with the text.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many tokens to name.")] = 5,
    csv: Annotated[Path | None, typer.Option(help="Write all numbers to this file.")] = None,
    json: Annotated[Path | None, typer.Option(help="Likewise, with the milestones.")] = None,
) -> None:
    """Show what every layer would say next after a text, from its stored tokens.

    No model is loaded: extract the texts first, with --tokens.
    """
    from actstore.metrics.lens.prompts import Asked, read_prompts
    from actstore.metrics.running.reading import open_lens
    from actstore.present.lens import show_readings, write_readings
    from actstore.store import open_store

    if (text is None) == (prompt_file is None):
        raise InvalidInputError("Give either --text or --prompt-file.")
    asked = [Asked(text)] if text is not None else read_prompts(prompt_file or Path())
    opened = open_lens(open_store(store), model, checkpoint, lens=lens_, sample=tokens_name)
    readings = [
        opened.read(
            one.text,
            position=position,
            gold=one.gold or (gold if gold_id is None else gold_id),
            layers=layers,
            top=top,
        )
        for one in asked
    ]
    if csv is None and json is None:
        show_readings(readings)
    else:
        write_readings(readings, csv, json)
