"""The kinds of figures: what each shows, what it needs, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from actstore.errors import MissingShardsError
from actstore.refs import look_up
from actstore.report.figures.data import Choice, Data
from actstore.report.figures.style import styled
from actstore.store import Store


@dataclass(frozen=True)
class Need:
    """Something a figure is drawn from."""

    what: str
    """As a list says it: `scores`."""
    is_there: Callable[[Data], bool]
    command: str
    """What makes it, with {store} for the store's URL."""

    def missing(self, store: Store) -> str:
        """That a store has none, and what to type."""
        return f"no {self.what}: {self.command.format(store=store.url)}"


@dataclass(frozen=True)
class Kind:
    """One kind of figure. Called with a store it returns a matplotlib Figure."""

    name: str
    about: str
    """One sentence."""
    needs: tuple[Need, ...]
    draw: Callable[[Data], Figure]

    def __call__(self, store: Store, choice: Choice | None = None) -> Figure:
        """The figure.

        Raises MissingShardsError, naming the command that makes it, for data that are not there;
        InvalidInputError and UnknownNameError for a choice that cannot be shown.
        """
        data = Data(store, choice or Choice())
        if lacking := self.lacks(data):
            told = "; ".join(need.missing(store) for need in lacking)
            raise MissingShardsError(
                f"The figure {self.name} shows what {store.url} has not. Make it: {told}"
            )
        with styled():
            figure = self.draw(data)
            FigureCanvasAgg(figure)
            return figure

    def lacks(self, data: Data) -> list[Need]:
        """What it needs and the store has not."""
        return [need for need in self.needs if not need.is_there(data)]


FIGURES: dict[str, Kind] = {}


def kind(name: str, about: str, *needs: Need) -> Callable[[Callable[[Data], Figure]], Kind]:
    """Register what draws a kind of figure."""

    def register(draw: Callable[[Data], Figure]) -> Kind:
        FIGURES[name] = Kind(name, about, needs, draw)
        return FIGURES[name]

    return register


def figure_kind(name: str) -> Kind:
    """The kind of a name. Raises UnknownNameError."""
    return FIGURES[look_up("kind of figure", name, list(FIGURES), "List: actstore plot --list")]
