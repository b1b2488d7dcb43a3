"""Scoring one unit after the other; the task that was last used stays loaded."""

from __future__ import annotations

import traceback

import mteb
from mteb._set_seed import _set_seed
from mteb.abstasks import AbsTask
from mteb.results import TaskResult

from actstore.errors import InvalidInputError
from actstore.evaluate.collection.bundle import IS_SHAPE, thaw
from actstore.evaluate.fast import quicken
from actstore.evaluate.scoring.conditions import Conditions, scoring_conditions
from actstore.evaluate.scoring.encoder import StoreEncoder, TaskTexts
from actstore.evaluate.scoring.fitting import fit_digest
from actstore.evaluate.scoring.unit import Unit, UnitOutcome
from actstore.evaluate.suites.selection import TaskSelection
from actstore.store import Store


class Evaluator:
    """Scores units of a store."""

    def __init__(self, store: Store, conditions: Conditions) -> None:
        self.store, self.conditions = store, conditions
        self._loaded: tuple[TaskSelection, AbsTask, TaskTexts] | None = None

    def outcome(self, unit: Unit) -> UnitOutcome:
        """A unit's result, or the error that it ended with, as text."""
        try:
            return UnitOutcome(unit, self.evaluate(unit))
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            return UnitOutcome(unit, None, message, traceback.format_exc())

    def evaluate(self, unit: Unit) -> TaskResult:
        """mteb's result for one unit, the same as for a model that returns its vectors."""
        with scoring_conditions(self.conditions):
            task, texts = self._task(unit.task)
            encoder = self._encoder(unit, texts)
            task.rng_state, task.np_rng = _set_seed(task.seed)  # as in a task object just made
            results = mteb.evaluate(
                encoder,
                task,
                cache=None,
                co2_tracker=False,
                encode_kwargs={"show_progress_bar": False},
                show_progress_bar=False,
            )
        return results.task_results[0]

    def _encoder(self, unit: Unit, texts: TaskTexts) -> StoreEncoder:
        encoder = StoreEncoder(
            self.store,
            unit.model,
            checkpoint=unit.checkpoint,
            layer=unit.representation.layers,
            pooling=unit.representation.pooling,
            transform=unit.representation.transform,
            texts=texts,
        )
        if fit_digest(encoder.group, unit.representation) != unit.fit:
            raise InvalidInputError(
                f"Texts of {unit.model} at {unit.checkpoint} were extracted while this ran, so "
                f"{unit.representation.label} would be fitted on others. Run the same again."
            )
        return encoder

    def _task(self, selection: TaskSelection) -> tuple[AbsTask, TaskTexts]:
        if self._loaded is None or self._loaded[0] != selection:
            self._loaded = None
            bundle = self.store.task(selection.name)
            upstream = self.conditions.upstream
            task = thaw(
                selection.name,
                bundle.told("shape", IS_SHAPE),
                bundle.table,
                selection.splits,
                selection.subsets,
                packed=not upstream,
            )
            task = task if upstream else quicken(task)
            self._loaded = selection, task, TaskTexts.of(self.store, selection.name)
        return self._loaded[1:]
