"""StoreEncoder: stored states as an mteb model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any

import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from numpy.typing import NDArray

from actstore.errors import InvalidInputError, UnknownTextError
from actstore.evaluate.scoring.states import read_states
from actstore.evaluate.scoring.transform import Representation, Transform
from actstore.refs import checkpoint_key, model_key
from actstore.store import CheckpointGroup, Store

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class TaskTexts:
    """Where a task's texts are: what all layers of all checkpoints share."""

    task: str
    rows: NDArray[np.int64]
    """(n,) ascending."""
    places: dict[str, int]
    """Text -> place in `rows`."""

    @classmethod
    def of(cls, store: Store, task: str) -> TaskTexts:
        """The texts of a collected task; none for a task that the store does not have.

        Raises CorruptShardError for texts that are not the ones that were collected.
        """
        if task not in store.tasks():
            return cls(task, np.empty(0, np.int64), {})
        rows = np.sort(store.task(task).rows())
        texts = store.read_texts(rows)
        return cls(task, rows, {text: place for place, text in enumerate(texts)})


class StoreEncoder(AbsEncoder):
    """Answers mteb with stored states of one (model, checkpoint, layer, pooling).

    `mteb.evaluate(StoreEncoder(store, "EleutherAI/pythia-410m", checkpoint="step1000", layer=5,
    pooling="mean"), tasks)` gives the scores of a model that returns these vectors. The vectors of
    a collected task are read once, when its first call comes.
    """

    def __init__(
        self,
        store: Store,
        model: str,
        *,
        checkpoint: str,
        layer: int | Sequence[int],
        pooling: str = "mean",
        transform: Transform | str = "",
        texts: TaskTexts | None = None,
    ) -> None:
        """layer: several for a transform that combines them: `mean`, `concat`.

        transform: steps such as `center+l2`, see Transform. texts: of the task that comes first,
        where they are known already. Raises UnknownNameError for a model, checkpoint, layer or
        pooling that is not stored, InvalidInputError for a transform that there is not.
        """
        self.store = store
        self.representation = _representation(layer, pooling, transform)
        self.group: CheckpointGroup = store.checkpoint(model, checkpoint)
        for one in self.representation.layers:
            self.group.read(pooling, one, np.empty(0, np.int64))  # whether there is such a thing
        self.mteb_model_meta = model_meta(self.group, self.representation)
        self._texts = texts
        self._vectors: NDArray[np.float32] | None = None

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> NDArray[np.float32]:
        """(text, hidden) in float32; without a transform, exactly what is stored.

        An empty text has no token, and the vector of zeros: that is what mean pooling gives for it
        in sentence-transformers. Raises UnknownTextError for a text that was never collected and
        MissingShardsError for one that was never extracted.
        """
        asked = inputs.dataset["text"][:]
        if "" not in asked:
            return self._vectors_of(asked, task_metadata.name, hf_split, hf_subset)
        there = np.flatnonzero([bool(text) for text in asked])
        found = self._vectors_of(
            [asked[place] for place in there], task_metadata.name, hf_split, hf_subset
        )
        vectors = np.zeros((len(asked), found.shape[1]), np.float32)
        vectors[there] = found
        return vectors

    def _vectors_of(
        self, asked: Sequence[str], task: str, split: str, subset: str
    ) -> NDArray[np.float32]:
        texts, vectors = self._of_task(task)
        try:
            places = [texts.places[text] for text in asked]
        except KeyError:
            rows = self._rows_of(asked, task, split, subset)
            return read_states(self.group, self.representation, rows)
        return vectors[places]

    def _of_task(self, task: str) -> tuple[TaskTexts, NDArray[np.float32]]:
        if self._texts is None or self._texts.task != task:
            self._texts, self._vectors = TaskTexts.of(self.store, task), None
        if self._vectors is None:
            self._vectors = read_states(self.group, self.representation, self._texts.rows)
        return self._texts, self._vectors

    def _rows_of(
        self, texts: Sequence[str], task: str, split: str, subset: str
    ) -> NDArray[np.int64]:
        """Rows of texts that the task's bundle does not have: another task's, or a text file's."""
        try:
            return self.store.rows_of(texts)
        except UnknownTextError as error:
            url, spec = self.store.url, self.group.spec
            raise UnknownTextError(
                f"{task} (split {split}, subset {subset}) asks for texts that {url} does not have. "
                f"{error} For this task: actstore collect {url} --suite {quote(task)}, "
                f"then: actstore extract {url} --model {quote(spec.model)} "
                f"--checkpoints {quote(spec.checkpoint)}"
            ) from error


def model_meta(group: CheckpointGroup, representation: Representation) -> ModelMeta:
    """Metadata that keeps model, checkpoint and representation apart in mteb's ResultCache.

    Results lie in `<model>/<checkpoint>/experiments/layer_<l>__pooling_<p>/<Task>.json`; those of
    transformed states in `layer_<l>__pooling_<p>__transform_<t>`.
    """
    spec = group.spec
    known = _HUB_NAME.fullmatch(spec.model) is not None
    experiment = {"layer": representation.layer, "pooling": representation.pooling}
    transform = {"transform": representation.label} if representation.label else {}
    return ModelMeta.create_empty(
        {
            "name": spec.model if known else f"local/{model_key(spec.model)}",
            "revision": checkpoint_key(spec.checkpoint),
            "max_tokens": spec.max_tokens,
            "embed_dim": representation.width(spec.hidden_size),
            "similarity_fn_name": ScoringFunction.COSINE,
            "experiment_kwargs": {**experiment, **transform},
        }
    )


def _representation(
    layer: int | Sequence[int], pooling: str, transform: Transform | str
) -> Representation:
    layers = tuple(map(int, layer)) if isinstance(layer, Sequence) else (int(layer),)
    parsed = Transform.parse(transform) if isinstance(transform, str) else transform
    if len(layers) != 1 and not parsed.combine:
        raise InvalidInputError(
            f"{len(layers)} layers were asked for as one representation. Say how they are "
            "combined: transform='mean' or transform='concat'; or give one layer."
        )
    return Representation(layers, pooling, parsed)
