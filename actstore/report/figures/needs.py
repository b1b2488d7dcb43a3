"""What figures are drawn from, and which commands make it."""

from __future__ import annotations

from actstore.report.figures.data import Data
from actstore.report.figures.registry import Need

_EVAL = "actstore eval {store} --suite SUITE"


def _has_scores(data: Data) -> bool:
    return not data.score_rows.empty


def _has_texts(data: Data) -> bool:
    return bool((data.metric_rows["values"] != "").any())


def _models_with_states(data: Data) -> list[str]:
    models = data.store.models()
    return [name for name in models if not data.choice.models or name in data.choice.models]


def _has_states(data: Data) -> bool:
    store = data.store
    found = ((one, store.checkpoints(one)) for one in _models_with_states(data))
    return any(store.checkpoint(one, last[-1]).poolings() for one, last in found if last)


def _has_tokens(data: Data) -> bool:
    store = data.store
    found = ((one, store.checkpoints(one)) for one in _models_with_states(data))
    return any(store.checkpoint(one, last[-1]).token_samples() for one, last in found if last)


def metrics_like(what: str, *beginnings: str, names: str = "") -> Need:
    """Metrics whose names begin so. names: as the command asks for them."""
    wanted = names or ",".join(beginnings)

    def is_there(data: Data) -> bool:
        return any(str(name).startswith(beginnings) for name in data.metric_rows["metric"])

    return Need(what, is_there, f"actstore metrics {{store}} --metric {wanted}")


SCORES = Need("scores", _has_scores, _EVAL)
METRICS = Need("metrics", lambda data: not data.metric_rows.empty, "actstore metrics {store}")
TASK_METRICS = Need(
    "metrics over the texts of single tasks",
    lambda data: bool((data.metric_rows["task"] != "").any()),
    "actstore metrics {store} --tasks TASK,TASK",
)
TWO_METRICS = Need(
    "two metrics of a layer",
    lambda data: data.metric_rows["metric"].nunique() > 1,
    "actstore metrics {store}",
)
TEXT_NUMBERS = Need(
    "metrics of single texts",
    _has_texts,
    "actstore metrics {store} --metric prompt_entropy (after actstore extract … --tokens 200)",
)
POOLED = Need("pooled states", _has_states, "actstore extract {store} --model MODEL")
TOKENS = Need("token states", _has_tokens, "actstore extract {store} --model MODEL --tokens 200")
