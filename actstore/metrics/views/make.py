"""Making the views of texts that a store holds."""

from __future__ import annotations

from dataclasses import dataclass

from actstore.metrics.blocks import RowNumbers
from actstore.metrics.views.augment import AUGMENTER, VERSION, views_of
from actstore.store import Json, Store
from actstore.store.records.plan import require_same
from actstore.store.texts.views import ViewSet


@dataclass(frozen=True)
class ViewsRequest:
    """Which views are made, and of which texts."""

    name: str = "default"
    """Of the view set."""
    n_views: int = 16
    """Of each text."""
    seed: int = 0
    """Of the texts' sample and of what is changed in them."""
    texts: str = ""
    """In words, which texts they are of; kept with the set."""

    def attributes(self) -> dict[str, Json]:
        """What is kept with the set, apart from the number of views."""
        return {
            "augmenter": AUGMENTER,
            "augmenter_version": VERSION,
            "seed": self.seed,
            "texts": self.texts,
        }


def stored_views(store: Store, request: ViewsRequest) -> ViewSet | None:
    """The view set of this name, if there is one.

    Raises PlanMismatchError if it is of other texts, or was made in another way.
    """
    if request.name not in store.views():
        return None
    found = store.view_set(request.name)
    asked: dict[str, Json] = {**request.attributes(), "n_views": request.n_views}
    remedy = f"Make these beside it: add --name {request.name}-2, say."
    require_same(f"The view set {request.name!r} of {store.url}", found.attributes, asked, remedy)
    return found


def make_views(store: Store, request: ViewsRequest, rows: RowNumbers) -> ViewSet:
    """Add augmented views of some rows' texts to the store; they are extracted with its texts.

    A set that is there already is returned. Raises PlanMismatchError for another of its name, and
    UnknownTextError for rows without a text.
    """
    views = views_of(store.read_texts(rows), request.n_views, request.seed)
    return store.add_views(request.name, rows, views, request.attributes())
