"""The lens head: how a model reads tokens out of a hidden state, kept as a short program.

Families differ in what stands between the last block and the logits: a norm, a projection, a scale,
a soft cap, a bias. The store keeps those steps and their arrays, so that a logit lens needs no
model. The program was replayed against the model when it was found; `max_abs_error` says how well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actstore.errors import CorruptShardError
from actstore.store.heads.head_ops import (
    EVERY_TOKEN,
    Floats,
    HeadOp,
    LayerNorm,
    Linear,
    RmsNorm,
    Tokens,
    array_names,
    op_from_json,
    op_to_json,
    width_behind,
)
from actstore.store.records.documents import (
    Fields,
    is_number,
    is_table,
    is_text,
    list_of,
    wrong_field,
)
from actstore.store.records.journal import Json

__all__ = ["HeadOp", "LensHead"]

_SHOWN = 1000
_MOST_OPS = 1000
_PROGRAM: Fields = {
    "ops": lambda ops: list_of(is_table, least=1)(ops) and len(ops) <= _MOST_OPS,  # type: ignore[arg-type]
    "max_abs_error": is_number,
    "compute_dtype": is_text,
}


@dataclass(frozen=True, eq=False)  # arrays do not compare to a truth value
class LensHead:
    """The steps from a block's raw output to the logits: a norm part, the unembedding, the rest.

    Source of the logit lens: nostalgebraist 2020, https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru.
    """

    ops: tuple[HeadOp, ...]
    """The first takes a layer's states, the last gives logits."""
    arrays: Mapping[str, Floats]
    """By the names the ops use: float16 where that holds every number exactly, else float32."""
    max_abs_error: float
    """Largest difference between these logits, in float32, and the model's own, on some tokens."""
    compute_dtype: str = "float32"
    """What the model computed in when that was measured: the error is mostly its rounding."""
    block_norms: Mapping[int, HeadOp] = field(default_factory=dict)
    """By layer l = 0 .. L - 1, the norm that block l + 1 applies to it first. A layer is left out
    where a block begins with none (BERT, OLMo 2); all are, in heads stored before norms were."""

    def logits(self, states: Floats) -> Floats:
        """The logits of any layer's states: (n, hidden) -> (n, vocabulary).

        Computed and returned in float64 if the states are float64, else in float32.
        """
        return self.unembed(self.norm(states))

    def norm(self, states: Floats) -> Floats:
        """What the unembedding multiplies: (n, hidden) -> (n, width of the unembedding).

        The final norm, and whatever else a model does before the unembedding (OPT-350m's
        projection, BERT's dense layer and its norm). float64 if the states are, else float32.
        """
        return self._replay(self.ops[: self._unembedding_index], states)

    def unembed(self, normed: Floats, tokens: Tokens = EVERY_TOKEN) -> Floats:
        """Logits of what `norm` returned: (n, width) -> (n, vocabulary), or only of some tokens.

        Some tokens of the vocabulary touch only those rows of the unembedding: walk over it in
        slices where (n, vocabulary) does not fit. Includes biases, scales and soft caps.
        """
        return self.finish(self.raw_logits(normed, tokens), tokens)

    def raw_logits(
        self, normed: Floats, tokens: Tokens = EVERY_TOKEN, out: Floats | None = None
    ) -> Floats:
        """What `norm` returned times the unembedding: no bias, scale or soft cap yet.

        (n, width) -> (n, vocabulary), or only of some tokens; written to `out` where one is given.
        """
        x = np.asarray(normed, dtype=_compute_dtype(normed))
        return self._unembedding_op.product(x, self.arrays, tokens, out)

    def finish(self, raw: Floats, tokens: Tokens = EVERY_TOKEN) -> Floats:
        """The logits, from the raw ones of the same tokens, which may be overwritten."""
        logits = self._unembedding_op.add_bias(raw, self.arrays, tokens)
        return self._replay(self.ops[self._unembedding_index + 1 :], logits)

    @property
    def unembedding(self) -> Floats:
        """The unembedding matrix as stored, (vocabulary, width)."""
        return self.arrays[self._unembedding_op.weight]

    @property
    def width(self) -> int:
        """How many values a state has that the head takes."""
        first = next(op for op in self.ops if isinstance(op, Linear | LayerNorm | RmsNorm))
        return int(self.arrays[array_names(first)[0]].shape[-1])

    @property
    def vocabulary_size(self) -> int:
        """How many tokens have a logit."""
        return int(self.unembedding.shape[0])

    def to_json(self) -> dict[str, Json]:
        """The program without its arrays, as JSON."""
        return {
            "ops": [op_to_json(op) for op in self.ops],
            "max_abs_error": self.max_abs_error,
            "compute_dtype": self.compute_dtype,
            "block_norms": {str(layer): op_to_json(op) for layer, op in self.block_norms.items()},
        }

    @classmethod
    def from_json(cls, program: Mapping[str, Any], arrays: Mapping[str, Floats]) -> LensHead:
        """The head whose program `to_json` wrote, over the arrays stored beside it.

        Raises CorruptShardError if the program is not one this version knows, or lacks an array.
        """
        try:
            if what := wrong_field(dict(program), _PROGRAM):
                raise ValueError(what)
            ops = tuple(op_from_json(fields) for fields in program["ops"])
            norms = program.get("block_norms", {})
            head = cls(
                ops,
                arrays,
                float(program["max_abs_error"]),
                program["compute_dtype"],
                {int(layer): op_from_json(fields) for layer, fields in norms.items()},
            )
            head._require_whole()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptShardError(
                f"The stored lens head is no program this actstore knows ({error!r}): "
                f"{str(dict(program))[:_SHOWN]}. Extract this checkpoint's lens head again, or "
                "update actstore."
            ) from error
        return head

    @property
    def _unembedding_index(self) -> int:
        return max(i for i, op in enumerate(self.ops) if isinstance(op, Linear))

    @property
    def _unembedding_op(self) -> Linear:
        op = self.ops[self._unembedding_index]
        assert isinstance(op, Linear)
        return op

    def _replay(self, ops: tuple[HeadOp, ...], x: Floats) -> Floats:
        x = np.asarray(x, dtype=_compute_dtype(x))
        for op in ops:
            x = op.apply(x, self.arrays)
        return x

    def _require_whole(self) -> None:
        ops = (*self.ops, *self.block_norms.values())
        missing = [name for op in ops for name in array_names(op) if name not in self.arrays]
        if missing or not any(isinstance(op, Linear) for op in self.ops):
            raise CorruptShardError(
                f"The stored lens head lacks {', '.join(missing) or 'an unembedding'}. "
                "Extract this checkpoint's lens head again."
            )
        width = -1
        for op in self.ops:
            width = width_behind(op, width, self.arrays)
        for op in self.block_norms.values():
            width_behind(op, -1, self.arrays)


def _compute_dtype(states: Floats) -> type[np.floating[Any]]:
    return np.float64 if np.asarray(states).dtype == np.float64 else np.float32
