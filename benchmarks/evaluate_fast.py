"""One layer of the paper's tasks at their real sizes: mteb's own way against the fast paths.

Every leaf of the scores is compared. The CPU time in which the model makes its vectors is left out
on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

from actstore.evaluate.fast import quicken
from benchmarks.evaluate_rows import Rows, RowsModel
from benchmarks.evaluate_scores import largest_difference, score
from benchmarks.evaluate_tasks import PAPER, Settings, sized_task
from benchmarks.timing import Row


@dataclass(frozen=True)
class Comparison:
    """A task in both ways."""

    name: str
    upstream: float
    """CPU seconds."""
    quick: float
    difference: float
    """The largest of all leaves."""


def fast_rows(settings: Settings) -> list[Row]:
    compare("STS17", settings)  # imports, and what libraries do once
    found = []
    for name in settings.tasks or PAPER:
        found.append(compare(name, settings))
        print(_line(found[-1]), flush=True)
    print(_line(_total(found)), flush=True)
    total = _total(found)
    what = f"one layer of {len(found)} tasks at {settings.scale:g} of their size: fast paths"
    measured = f"{total.upstream / total.quick:.1f} x less ({total.upstream:.0f} to "
    measured += f"{total.quick:.0f} s), largest difference of a leaf {total.difference:g}"
    return [Row(what, "≥ 4 x less CPU, no difference", measured)]


def compare(name: str, settings: Settings) -> Comparison:
    """A task as mteb scores it, and quickened."""
    rows, task = Rows(settings.hidden), sized_task(name, settings.scale)
    quick = quicken(task)
    models = [RowsModel(rows) for _ in range(2)]
    theirs, ours = (score(model, one) for model, one in zip(models, (task, quick), strict=True))
    return Comparison(
        name,
        theirs.seconds - models[0].seconds,
        ours.seconds - models[1].seconds,
        largest_difference(theirs.scores, ours.scores),
    )


def _total(found: list[Comparison]) -> Comparison:
    return Comparison(
        "all",
        sum(one.upstream for one in found),
        sum(one.quick for one in found),
        max(one.difference for one in found),
    )


def _line(one: Comparison) -> str:
    ratio = one.upstream / one.quick
    cells = [one.name, f"{one.upstream:.2f}", f"{one.quick:.2f}", f"{ratio:.1f} x"]
    return f"| {' | '.join([*cells, f'{one.difference:g}'])} |"
