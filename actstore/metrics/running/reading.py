"""Prompts read from a store, layer by layer: no model is loaded."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any

import numpy as np
import pandas as pd

from actstore.errors import (
    InvalidInputError,
    MissingShardsError,
    UnknownNameError,
    UnknownTextError,
)
from actstore.metrics.lens.collapse import Ids
from actstore.metrics.lens.decoders import Decoder
from actstore.metrics.lens.gold import gold_id
from actstore.metrics.lens.milestones import Milestones
from actstore.metrics.lens.reading import NO_GOLD, Prompt, TokenNames, read_prompt
from actstore.metrics.running.decoding import decoder_of, require_lens
from actstore.refs import parse_layers, ranges
from actstore.store import CheckpointGroup, LensHead, Store, TokenSample

Position = int | str
"""A token of the text, from 0 or counted from the end, or `last` or `all`."""


@dataclass(frozen=True, eq=False)  # tables do not compare to a truth value
class LensReading:
    """What every layer would say next, after some tokens of one text."""

    model: str
    checkpoint: str
    lens: str
    sample: str
    """The token sample that the states are from."""
    row: int
    text: str
    tokens: tuple[str, ...]
    """All of the text's, each decoded by itself."""
    cut: bool
    """Whether the text was longer, and cut when it was extracted."""
    table: pd.DataFrame
    """One line a position and layer; `read_prompt` says what the columns are."""
    milestones: dict[int, Milestones]
    """By position, over all stored layers, whichever are in the table."""


@dataclass(frozen=True, eq=False)
class PromptLens:
    """One checkpoint and one lens, opened to read any number of prompts."""

    store: Store
    group: CheckpointGroup
    lens: str
    decoder: Decoder
    head: LensHead
    names: TokenNames
    sample: str | None
    """The token sample to read; None for the first that has the text."""

    def read(
        self,
        text: str,
        *,
        position: Position = "last",
        gold: str | int | None = None,
        layers: str = "all",
        top: int = 5,
    ) -> LensReading:
        """What every layer would say next.

        text: as it was extracted, to the character. gold: the token to look for after every
        position that is read, a string of the vocabulary or an id; by default each position's next
        token, if there is one. layers: those to tell of, as `parse_layers` reads them. top: how
        many tokens to name.

        Raises UnknownTextError for a text that is not in the store, MissingShardsError for one
        whose tokens are not, each with the command that mends it; InvalidInputError for a position
        that is not there or a gold that is no single token.
        """
        shown = _layers(self.group, layers)
        row = self._row(text)
        sample = self._sample_with(row, text)
        start, stop = _span(sample, row)
        prompt = self._prompt(sample, start, stop, text, position, gold)
        table, milestones = read_prompt(prompt, self.head, self.names, self.decoder, top)
        return LensReading(
            model=self.group.model,
            checkpoint=self.group.checkpoint,
            lens=self.lens,
            sample=sample.name,
            row=row,
            text=text,
            tokens=tuple(self.names.text[prompt.token_id]),
            cut=self._was_cut(row, stop - start),
            table=table[table["layer"].isin(shown)].reset_index(drop=True),
            milestones=milestones,
        )

    def _prompt(
        self,
        sample: TokenSample,
        start: int,
        stop: int,
        text: str,
        position: Position,
        gold: str | int | None,
    ) -> Prompt:
        token_id = sample.token_id[start:stop].astype(np.int64)
        positions = _positions(position, len(token_id))
        places = list(positions)
        states = [sample.states(layer, start, stop)[places] for layer in self.group.layers]
        return Prompt(
            token_id=token_id,
            positions=positions,
            gold=_next_ids(token_id)[places]
            if gold is None
            else np.full(len(places), gold_id(gold, text, self.names)),
            states=np.stack(states),
            layers=self.group.layers,
        )

    def _row(self, text: str) -> int:
        try:
            return int(self.store.rows_of([text])[0])
        except UnknownTextError:
            stripped = text.strip()
            known = stripped != text and stripped and _is_known(self.store, stripped)
            other = " It has this text without the spaces around it." if known else ""
            raise UnknownTextError(
                f"{text!r:.80} is not among the texts of {self.store.url}: a lens reads states "
                f"that are stored.{other} {self._how_to_add()}"
            ) from None

    def _sample_with(self, row: int, text: str) -> TokenSample:
        names = self.group.token_samples() if self.sample is None else [self.sample]
        for name in names:
            sample = self.group.token_sample(name)
            if (sample.row == row).any():
                return sample
        searched = f"the token sample {self.sample!r}" if self.sample else "any token sample"
        there = f" (there are: {', '.join(names)})" if names and not self.sample else ""
        raise MissingShardsError(
            f"{text!r:.80} is row {row} of {self.store.url}, but not in {searched} of "
            f"{self.group.model} at {self.group.checkpoint}{there}. {self._how_to_add()}"
        )

    def _how_to_add(self) -> str:
        """A sample keeps the texts it was begun with: others need another name."""
        return (
            "Write it to prompts.txt, a text a line, and run: actstore extract "
            f"{self.store.url} --model {quote(self.group.model)} "
            f"--checkpoints {quote(self.group.checkpoint)} "
            f"--texts prompts.txt --tokens all --tokens-name {self._free_name()}"
        )

    def _free_name(self) -> str:
        taken = set(self.group.token_samples())
        return next(
            name
            for i in itertools.count(1)
            if (name := f"prompts{i}" if i > 1 else "prompts") not in taken
        )

    def _was_cut(self, row: int, n_tokens: int) -> bool:
        if n_tokens < self.group.spec.max_tokens:
            return False
        place = int(np.searchsorted(self.store.text_rows(), row))
        return bool(self.store.text_lengths(self.group.model)["truncated"][place])


def open_lens(
    store: Store,
    model: str | None = None,
    checkpoint: str | None = None,
    *,
    lens: str = "final",
    sample: str | None = None,
) -> PromptLens:
    """One checkpoint, to read prompts from: its last one in training order if none is named.

    model: may be left out where the store has one. lens: final, next_block, raw, or one that was
    fitted. sample: the token sample to read, if not the first that has the text. Raises
    UnknownNameError, and MissingShardsError where the lens head, the vocabulary or the last layer
    is missing, each saying what to type.
    """
    model = model or store.only_model()
    group = store.checkpoint(model, checkpoint or store.checkpoints(model)[-1])
    require_lens(group, lens)
    if sample is not None:
        group.token_sample(sample)
    head = group.head()
    names = TokenNames.of(store.vocabulary(group.model), head.vocabulary_size)
    return PromptLens(store, group, lens, decoder_of(group, lens), head, names, sample)


def read_lens(
    store: Store,
    text: str,
    *,
    model: str | None = None,
    checkpoint: str | None = None,
    lens: str = "final",
    position: Position = "last",
    gold: str | int | None = None,
) -> LensReading:
    """What every layer of a checkpoint would say after a stored text; see `PromptLens.read`."""
    opened = open_lens(store, model, checkpoint, lens=lens)
    return opened.read(text, position=position, gold=gold)


def reading_table(readings: Sequence[LensReading]) -> pd.DataFrame:
    """All lines of some readings, with prompt_id, their place among them, first."""
    tables = [
        reading.table.assign(prompt_id=i, model=reading.model, checkpoint=reading.checkpoint)
        for i, reading in enumerate(readings)
    ]
    joined = pd.concat(tables, ignore_index=True)
    first = ["prompt_id", "model", "checkpoint"]
    return joined[[*first, *(name for name in joined if name not in first)]]


def reading_json(reading: LensReading) -> dict[str, Any]:
    """A reading as JSON, without NaN: what is not defined is null."""
    lines = reading.table.astype(object).where(reading.table.notna(), None)
    return {
        "model": reading.model,
        "checkpoint": reading.checkpoint,
        "lens": reading.lens,
        "sample": reading.sample,
        "row": reading.row,
        "prompt": reading.text,
        "tokens": list(reading.tokens),
        "cut": reading.cut,
        "kl_to_final_bits": "KL(layer || final)",
        "milestones": {str(at): found.named() for at, found in reading.milestones.items()},
        "layers": lines.to_dict("records"),
    }


def _is_known(store: Store, text: str) -> bool:
    try:
        store.rows_of([text])
    except UnknownTextError:
        return False
    return True


def _span(sample: TokenSample, row: int) -> tuple[int, int]:
    spans = sample.spans
    found = spans[spans["row"] == row].iloc[0]
    return int(found["start"]), int(found["stop"])


def _positions(position: Position, n_tokens: int) -> tuple[int, ...]:
    if position == "all":
        return tuple(range(n_tokens))
    try:
        place = n_tokens - 1 if position == "last" else int(position)
    except ValueError:
        raise InvalidInputError(
            f"Cannot read the position {position!r}. Write last, all, or a number from 0."
        ) from None
    if not -n_tokens <= place < n_tokens:
        raise InvalidInputError(
            f"There is no position {place}: the text has the tokens 0 to {n_tokens - 1}, or "
            f"counted from the end -{n_tokens} to -1."
        )
    return (place % n_tokens,)


def _next_ids(token_id: Ids) -> Ids:
    return np.append(token_id[1:], NO_GOLD)


def _layers(group: CheckpointGroup, selection: str) -> tuple[int, ...]:
    if selection == "all":
        return group.layers
    asked = parse_layers(selection, group.spec.n_blocks)
    if absent := sorted(set(asked) - set(group.layers)):
        raise UnknownNameError(
            f"{group.model} at {group.checkpoint} is stored without the layers {ranges(absent)}; "
            f"it has {ranges(group.layers)}."
        )
    return asked
