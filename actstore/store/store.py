"""The store: texts, tasks, states and results under one root."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actstore import __version__
from actstore.addresses import absolute
from actstore.errors import (
    CorruptShardError,
    InvalidInputError,
    MissingShardsError,
    NotAStoreError,
    StoreVersionError,
)
from actstore.refs import by_training_step, checkpoint_key, look_up, model_key, model_name
from actstore.selection import select_checkpoints
from actstore.store import bundles
from actstore.store.arrays.chunked import (
    write_array,
)
from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
    begin_array,
    chunked_array,
    create_group,
    read_attributes,
    read_document,
    write_group,
)
from actstore.store.bundles import TaskBundle
from actstore.store.checkpoint import MODEL, CheckpointGroup
from actstore.store.heads.vocabulary import has_vocabulary, read_vocabulary
from actstore.store.records.damage import Damage
from actstore.store.records.documents import (
    NO_FIELDS,
    Fields,
    damaged,
    is_whole,
    is_word,
    require_fields,
)
from actstore.store.records.experiments import KeptExperiment, keep_experiment, kept_experiments
from actstore.store.records.journal import Json
from actstore.store.records.plan import SPEC, CheckpointSpec, require_same
from actstore.store.results import metric_journal, score_journal, score_tables
from actstore.store.results import records as results
from actstore.store.results.metric_journal import MetricRecord
from actstore.store.results.records import EvaluationFailure, ScoreRecord
from actstore.store.results.score_tables import CountedTask
from actstore.store.schema import FORMAT_VERSION, LAYER, N_TOKENS, TRUNCATED
from actstore.store.shards import choose_layout
from actstore.store.storage import LocalStorage, Storage, each, join, open_storage
from actstore.store.texts import views as view_sets
from actstore.store.texts.lengths import TextLengths
from actstore.store.texts.table import TextTable
from actstore.store.texts.views import ViewSet

if TYPE_CHECKING:
    import pyarrow as pa
    import xarray as xr

_MODELS = "models"
_FOLDERS = (_MODELS, "texts", "tasks", "suites", "scores", "metrics", "leases", "runs")


def open_store(url: str | os.PathLike[str], threads: int | None = None) -> Store:
    """Open a store: a path, or a URL such as `s3://bucket/pythia.zarr`.

    threads: how many reads at once, where the caller says nothing else; None: one on a disk, more
    over a network. Raises NotAStoreError, and StoreVersionError for one of a newer format.
    """
    storage = open_storage(url)
    if threads is not None:
        storage.threads = threads
    try:
        # Not by its seal: another version's may be another.
        found = read_document(storage, "").get("attributes")
        attributes = found.get("actstore") if isinstance(found, dict) else None
    except (FileNotFoundError, NotADirectoryError, CorruptShardError):
        attributes = None
    if attributes is None:
        raise NotAStoreError(
            f"{storage.url} is not an actstore store. Create one with: actstore collect "
            f"{storage.url} --suite layer-by-layer, or check the path."
        )
    version = require_fields(storage, DOCUMENT, attributes, {"format_version": is_whole})[
        "format_version"
    ]
    if version < FORMAT_VERSION:
        raise StoreVersionError(
            f"{storage.url} has format version {version}, of before the first release; this "
            f"actstore ({__version__}) reads {FORMAT_VERSION}. Extract again into a new store."
        )
    if version > FORMAT_VERSION:
        raise StoreVersionError(
            f"{storage.url} has format version {version}, this actstore ({__version__}) reads up "
            f"to {FORMAT_VERSION}. Run: pip install --upgrade actstore"
        )
    return Store(storage)


def create_store(url: str | os.PathLike[str]) -> Store:
    """Create a store, or open the one that is there.

    Any number of processes may do so at once, and one that is killed meanwhile leaves what the next
    completes. Raises InvalidInputError or NotAStoreError where something else is in the way.
    """
    storage = open_storage(url)
    if isinstance(storage, LocalStorage) and storage.root.is_file():
        raise InvalidInputError(f"{storage.url} is a file; a store is a folder. Choose another.")
    with suppress(NotAStoreError):
        return open_store(url)
    if not _only_begun(storage):
        return open_store(url)  # another process has just created it, or it is something else
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    attributes: dict[str, Json] = {
        "format_version": FORMAT_VERSION,
        "created_by": f"actstore {__version__}",
        "created_at": now,
    }
    for folder in _FOLDERS:
        write_group(storage, folder, {})  # a folder that is no group makes zarr and xarray warn
    write_group(storage, "", {"actstore": attributes})
    return Store(storage)


def _only_begun(storage: Storage) -> bool:
    """Whether there is nothing but what a killed `create_store` leaves."""
    folders = storage.names("")
    return {*folders} <= {*_FOLDERS} and all(
        {*storage.names(folder)} <= {DOCUMENT} for folder in folders
    )


class Store:
    """Everything a store holds. Cheap to make: nothing is read before it is asked for."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._texts = TextTable(storage)

    def __repr__(self) -> str:
        return f"<actstore.Store {self.url}>"

    @property
    def url(self) -> str:
        return self.storage.url

    @property
    def path(self) -> Path:
        """The folder of a store on a file system. Raises InvalidInputError for any other."""
        if not isinstance(self.storage, LocalStorage):
            raise InvalidInputError(
                f"{self.url} is no folder: this needs a store on a disk. Copy it: actstore copy "
                f"{self.url} FOLDER"
            )
        return self.storage.root

    @property
    def absolute_url(self) -> str:
        """What other processes open the store by, wherever they work.

        Raises InvalidInputError for a store in this process's memory, which no other sees.
        """
        if self.url.startswith("memory:"):
            raise InvalidInputError(
                f"{self.url} is in the memory of this process, and this takes others. Use a store "
                "on a disk or in a bucket."
            )
        return absolute(self.url)

    # texts

    def add_texts(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """The row of each text, (n,); new texts are appended, equal ones share a row.

        Raises InvalidTextError for a text that is empty or no valid Unicode.
        """
        return self._texts.add(texts)

    def rows_of(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """The row of each text, (n,). Raises UnknownTextError."""
        return self._texts.rows_of(texts)

    def read_texts(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> list[str]:
        """The texts of some rows. Raises UnknownTextError, CorruptShardError for an altered one."""
        return self._texts.read(rows)

    def text_rows(self) -> NDArray[np.int64]:
        """All rows that hold a text, ascending."""
        return self._texts.rows()

    def text_spans(self) -> list[tuple[int, int]]:
        """The same as ranges, each its first row and the one behind its last. Reads no texts."""
        return self._texts.spans()

    def text_bytes(self) -> int:
        """UTF-8 bytes of all texts. Reads none."""
        return self._texts.n_bytes()

    def source_rows(self) -> NDArray[np.int64]:
        """All rows whose text is more than a view of others, ascending.

        A text that came into the store with a view set counts if a task uses it.
        """
        rows, new = self.text_rows(), view_sets.rows_new_with_views(self.storage)
        if not len(new):
            return rows
        used = self._rows_of_tasks(self.tasks())
        only_views = np.setdiff1d(new, np.concatenate([np.empty(0, np.int64), *used]))
        return np.setdiff1d(rows, only_views, assume_unique=True)

    def texts(self, task: str | None = None, *, views: str | None = None) -> pd.DataFrame:
        """The text table, or the texts one task uses in order of first use: row, text, n_bytes.

        views: of a view set, one line a text and view, in its order, with columns source_row (the
        text it is a view of) and view (numbered from 0) too. Raises UnknownNameError.
        """
        table = self._texts.frame(["row", "text", "n_bytes"])
        if task is not None and views is not None:
            raise InvalidInputError("Give a task or a view set, not both.")
        if views is not None:
            columns = ["row", "text", "n_bytes", "source_row", "view"]
            return self.view_set(views).frame().merge(table, on="row", how="left")[columns]
        if task is None:
            return table
        return table.set_index("row").loc[self.task(task).rows()].reset_index()

    def text_lengths(self, model: str) -> dict[str, NDArray[Any]]:
        """`n_tokens` (int32) and `truncated` (bool) of `text_rows()` for one model.

        n_tokens is 0 where no checkpoint was extracted yet.
        """
        return self._lengths(model).read(self._texts)

    # views

    def add_views(
        self,
        name: str,
        source_rows: Sequence[int] | NDArray[np.integer[Any]],
        texts: Sequence[Sequence[str]],
        attributes: Mapping[str, Json] | None = None,
    ) -> ViewSet:
        """Add texts as views of texts of the store: (text, view), as many of each.

        attributes: how they were made, kept with the set. A set of this name and content that is
        there already is returned; PlanMismatchError is raised for another of its name. Raises
        UnknownTextError for rows without a text, InvalidInputError for rows given twice and for
        numbers of views that differ, InvalidTextError for a view that cannot be a text.
        """
        rows = np.array(source_rows, np.int64)
        return view_sets.add_views(self.storage, self._texts, name, rows, texts, attributes or {})

    def views(self) -> list[str]:
        """The names of the view sets."""
        return view_sets.view_sets(self.storage)

    def view_set(self, name: str) -> ViewSet:
        """A view set. Raises UnknownNameError."""
        return view_sets.view_set(self.storage, name)

    def vocabulary(self, model: str) -> pd.DataFrame:
        """What a model's token ids stand for: id, token (decoded alone), is_special, is_blank.

        Raises UnknownNameError, and MissingShardsError where none was stored with a lens head.
        """
        name = read_attributes(self.storage, self._model_prefix(model), MODEL)["model"]
        if not has_vocabulary(self.storage, name):
            raise MissingShardsError(
                f"{self.url} has no vocabulary of {name}; it is stored beside lens heads. "
                f"Run: actstore extract {self.url} --model {quote(name)} --lens-head"
            )
        return read_vocabulary(self.storage, name)

    # tasks and suites

    def tasks(self) -> list[str]:
        """The tasks whose texts and data are in the store."""
        return bundles.tasks(self.storage)

    def task(self, name: str) -> TaskBundle:
        """A frozen task. Raises UnknownNameError."""
        return bundles.task(self.storage, name)

    def write_task(
        self,
        name: str,
        manifest: Mapping[str, Json],
        calls: pa.Table,
        tables: Mapping[str, pa.Table],
    ) -> None:
        """Freeze a task. calls: columns split, subset, prompt_type, rows (see schema.py)."""
        bundles.write_task(self.storage, name, manifest, calls, tables)

    def suites(self) -> list[str]:
        return bundles.suites(self.storage)

    def suite(self, name: str) -> dict[str, Any]:
        """A collected suite's definition. Raises UnknownNameError."""
        return bundles.suite(self.storage, name)

    def rows_of_suite(self, suite: str) -> NDArray[np.int64]:
        """The rows a collected suite uses, or some comma-separated tasks, each once.

        Raises UnknownNameError for a suite or task that was not collected.
        """
        if suite in self.suites():
            names = [task["name"] for task in self.suite(suite)["tasks"]]
        else:
            names = [name.strip() for name in suite.split(",")]
        none = np.empty(0, np.int64)
        return np.unique(np.concatenate([none, *self._rows_of_tasks(names)]))

    def _rows_of_tasks(self, names: Sequence[str]) -> list[NDArray[np.int64]]:
        return each(self.storage, lambda name: self.task(name).rows(), names)

    def write_suite(self, name: str, definition: Mapping[str, Json]) -> None:
        bundles.write_suite(self.storage, name, definition)

    # states

    def models(self) -> list[str]:
        """The models that checkpoints were extracted of, as they were named."""
        found = self._groups_in(_MODELS, MODEL)
        for folder, attributes in found.items():
            if model_key(attributes["model"]) != folder:
                key = join(_MODELS, folder, DOCUMENT)
                raise damaged(self.storage, key, f"it is of the model {attributes['model']!r}")
        return [attributes["model"] for attributes in found.values()]

    def only_model(self) -> str:
        """The model, where the store holds just one. Raises InvalidInputError."""
        models = self.models()
        if len(models) != 1:
            raise InvalidInputError(
                f"{self.url} holds {len(models)} models: {', '.join(models) or 'none'}. "
                "Say which one: --model NAME (from Python: model=NAME)."
            )
        return models[0]

    def checkpoints(self, model: str) -> list[str]:
        """A model's checkpoints in training order. Raises UnknownNameError."""
        groups = self._groups_in(self._model_prefix(model))
        names = [one["checkpoint"] for one in groups.values() if "checkpoint" in one]
        if not all(map(is_word, names)):
            prefix = self._model_prefix(model)
            raise damaged(self.storage, prefix, "a checkpoint in it has no name")
        return by_training_step(names)

    def select_checkpoints(self, model: str, selection: Sequence[str]) -> tuple[str, ...]:
        """The stored checkpoints that a selection names, in training order; all for an empty one.

        selection: names, globs, ranges, `last:50`, presets: see actstore/selection.py. Names are
        not looked up. Raises UnknownNameError for a part that selects nothing, InvalidInputError
        for one that cannot be read.
        """
        if not selection:
            return tuple(self.checkpoints(model))
        return select_checkpoints(selection, lambda: self.checkpoints(model), stored=True)

    def checkpoint(self, model: str, checkpoint: str) -> CheckpointGroup:
        """One checkpoint. Raises UnknownNameError."""
        prefix = join(self._model_prefix(model), checkpoint_key(checkpoint))
        if not self.storage.exists(join(prefix, "zarr.json")):
            add = (
                f"Add it: actstore extract {self.url} --model {quote(model)} "
                f"--checkpoints {quote(checkpoint)}"
            )
            look_up("checkpoint in this store", checkpoint, self.checkpoints(model), add)
        return CheckpointGroup(self.storage, self._texts, prefix)

    def checkpoint_groups(self, model: str, checkpoints: Sequence[str]) -> list[CheckpointGroup]:
        """Some checkpoints, opened all at once where each takes a while. Raises as `checkpoint`."""
        return each(self.storage, lambda name: self.checkpoint(model, name), checkpoints)

    def embeddings(
        self,
        model: str,
        *,
        checkpoint: str,
        layer: int,
        pooling: str = "mean",
        texts: Sequence[str] | None = None,
        rows: Sequence[int] | NDArray[np.integer[Any]] | None = None,
        threads: int | None = None,
    ) -> NDArray[np.float32]:
        """Pooled states of some texts or rows, or of all rows: (n, hidden) in float32.

        threads: how many shards are read at once; None: as the store was opened. Raises
        UnknownNameError, UnknownTextError, and MissingShardsError naming the command that fills
        what is missing.
        """
        if texts is not None and rows is not None:
            raise InvalidInputError("Give texts or rows, not both.")
        if texts is not None:
            wanted = self.rows_of(texts)
        else:
            wanted = self.text_rows() if rows is None else np.asarray(rows, np.int64)
            self._texts.require(wanted)
        group = self.checkpoint(model, checkpoint)
        return group.read(pooling, layer, wanted, threads=threads)

    def dataset(self, model: str) -> xr.Dataset:
        """One lazy dataset over all checkpoints of a model: (checkpoint, layer, text, hidden).

        Select first, then compute or `.chunk()`: reads happen for what is selected only.
        """
        from actstore.store.arrays.lazy_dataset import lazy_dataset

        groups = self.checkpoint_groups(model, self.checkpoints(model))
        attributes = {"model": model, "store": self.url}
        return lazy_dataset(groups, self.text_rows(), self.text_lengths(model), attributes)

    def begin_checkpoint(self, spec: CheckpointSpec) -> CheckpointGroup:
        """Create a checkpoint's group, or join it.

        Raises PlanMismatchError, naming fields and values, if it was begun under another plan.
        """
        self._begin_model(spec)
        prefix = join(_MODELS, model_key(spec.model), checkpoint_key(spec.checkpoint))
        if self.storage.exists(join(prefix, "zarr.json")):
            stored = CheckpointSpec.from_attributes(read_attributes(self.storage, prefix, SPEC))
            what = f"{spec.model} at {spec.checkpoint} in {self.url}"
            remedy = "Use the stored values, or another store."
            require_same(what, stored.compared(), spec.compared(), remedy)
        else:
            layers = np.array(spec.layers, LAYER.dtype)
            write_array(self.storage, join(prefix, LAYER.name), layers, LAYER.dims, len(layers))
            write_group(self.storage, join(prefix, "ledger"), {})
            write_group(self.storage, prefix, spec.to_attributes())
        return CheckpointGroup(self.storage, self._texts, prefix)

    def model_damage(self, model: str, *, quick: bool) -> Iterator[Damage]:
        """What is wrong with what a model's checkpoints share: its document, its text lengths."""
        return self._lengths(model).damage(self._texts, quick=quick)

    # results

    @property
    def results_path(self) -> Path:
        """Root of the mteb ResultCache that holds the TaskResult files, of a store on a disk.

        Raises InvalidInputError for any other, of which `export_scores` makes such a folder.
        """
        if not isinstance(self.storage, LocalStorage):
            raise InvalidInputError(
                f"{self.url} is no folder that mteb could read. Export its results into one: "
                f"actstore scores {self.url} --out FOLDER"
            )
        return self.path / results.MTEB_RESULTS

    def record_scores(self, records: Sequence[ScoreRecord]) -> None:
        score_journal.record_scores(self.storage, records)

    def record_evaluation_failures(self, failures: Sequence[EvaluationFailure]) -> None:
        score_journal.record_failures(self.storage, failures)

    def record_metrics(self, records: Sequence[MetricRecord]) -> None:
        metric_journal.record_metrics(self.storage, records)

    def keep_metric_values(
        self, key: str, rows: NDArray[np.int64], values: Mapping[str, NDArray[np.float64]]
    ) -> None:
        """Keep the numbers of single texts that a mean is over; records name the key."""
        metric_journal.keep_metric_values(self.storage, key, rows, values)

    def scores(self) -> pd.DataFrame:
        """One row a scored unit, split and subset: main scores and what they depend on."""
        return score_journal.score_table(self.storage)

    def task_scores(self, suite: str | None = None) -> pd.DataFrame:
        """One score a task and unit, by a suite's mapping; NaN unless all it counts is scored.

        suite: a collected one, or scored tasks separated by commas; None: all scored tasks. The
        same in the methods below. Raises UnknownNameError. For columns see
        store/results/score_tables.py.
        """
        return score_tables.task_scores(*self._counted(suite))

    def score_array(self, suite: str | None = None) -> xr.DataArray:
        """Task scores by model, checkpoint, layer, pooling, transform and task."""
        return score_tables.score_array(*self._counted(suite))

    def suite_scores(self, suite: str | None = None) -> pd.DataFrame:
        """Means over all tasks and by type, one row a unit, NaN unless complete; coverage."""
        return score_tables.suite_scores(*self._counted(suite))

    def type_scores(self, suite: str | None = None) -> pd.DataFrame:
        """Means and coverage by task type, one row a unit and type."""
        return score_tables.type_scores(*self._counted(suite))

    def best_layers(self, suite: str | None = None) -> pd.DataFrame:
        """The layer with the highest suite mean of every checkpoint, and by how much."""
        return score_tables.best_layers(*self._counted(suite))

    def score_leaves(self, task: str) -> pd.DataFrame:
        """All scalar scores of one task, a column each. Raises UnknownNameError."""
        return score_journal.score_leaves(self.storage, task)

    def score_environments(self) -> dict[str, dict[str, Any]]:
        """What scores were computed in, by the column `environment` of `scores()`."""
        return score_journal.score_environments(self.storage)

    def evaluation_failures(self) -> pd.DataFrame:
        """What could not be scored, and was not since: unit, error, traceback, at."""
        return score_journal.failure_table(self.storage)

    def metrics(self) -> xr.Dataset:
        """Metric values, intervals and counts by model, checkpoint, layer, metric and source.

        `value` is NaN where there is none, counts are -1 there.
        """
        return metric_journal.metric_dataset(self.storage)

    def metric_table(self) -> pd.DataFrame:
        """The same as a tidy table, with reasons, definitions and parameters."""
        return metric_journal.metric_table(self.storage)

    def metric_values(self, model: str, metric: str, source: str | None = None) -> xr.DataArray:
        """A metric that is a mean over texts or tokens, of every text by itself.

        Returns (checkpoint, layer, text). source: None where there is only one. Raises
        UnknownNameError for a metric or source without such numbers.
        """
        return metric_journal.metric_values(self.storage, model, metric, source)

    # experiments

    def keep_experiment(self, digest: str, name: str, yaml: str) -> bool:
        """Keep a resolved experiment file and this process's environment; False if it is there."""
        return keep_experiment(self.storage, digest, name, yaml)

    def experiments(self) -> list[KeptExperiment]:
        """The experiments that were run on this store, the first one first."""
        return kept_experiments(self.storage)

    def _counted(self, suite: str | None) -> tuple[pd.DataFrame, list[CountedTask]]:
        scores = self.scores()
        return scores, score_tables.counted_tasks(self.storage, scores, suite)

    def _model_prefix(self, model: str) -> str:
        """The group of a model, named as in the store or by the path of its folder."""
        for name in (model, model_name(model)):
            prefix = join(_MODELS, model_key(name))
            if name and self.storage.exists(join(prefix, "zarr.json")):
                return prefix
        look_up("model in this store", model, self.models(), f"List: actstore info {self.url}")
        return join(_MODELS, model_key(model))  # another process has just begun it

    def _lengths(self, model: str) -> TextLengths:
        prefix = self._model_prefix(model)
        size = read_attributes(self.storage, prefix, MODEL)["rows_per_shard"]
        return TextLengths(self.storage, prefix, size)

    def _groups_in(self, prefix: str, fields: Fields = NO_FIELDS) -> dict[str, dict[str, Any]]:
        """The attributes of the nodes in a group, by the names of their folders.

        One whose document is not written is none yet. fields: that each must have.
        """
        names = [name for name in self.storage.names(prefix) if name != DOCUMENT]
        found = each(
            self.storage, lambda name: self._attributes_of(join(prefix, name), fields), names
        )
        pairs = zip(names, found, strict=True)
        return {name: attributes for name, attributes in pairs if attributes is not None}

    def _attributes_of(self, key: str, fields: Fields) -> dict[str, Any] | None:
        try:
            return read_attributes(self.storage, key, fields)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _begin_model(self, spec: CheckpointSpec) -> None:
        """What all checkpoints of a model share: the tokenisation and the rows in a shard."""
        prefix, n_rows = join(_MODELS, model_key(spec.model)), self._texts.end()
        shared: dict[str, Json] = {
            "model": spec.model,
            "max_tokens": spec.max_tokens,
            "tokenizer_digest": spec.tokenizer_digest,
        }
        if not self.storage.exists(join(prefix, DOCUMENT)):
            n_texts = len(self.text_rows())
            layout = choose_layout(
                len(spec.layers), spec.hidden_size, spec.dtype, n_texts, spec.precision
            )
            sizes = {
                "rows_per_shard": layout.rows_per_shard,
                "rows_per_chunk": layout.rows_per_chunk,
            }
            with suppress(FileExistsError):  # another process has just begun it
                create_group(self.storage, prefix, {**shared, **sizes})
        stored = read_attributes(self.storage, prefix, MODEL)
        remedy = "All checkpoints of a model in a store share these; use another store."
        require_same(f"{spec.model} in {self.url}", stored, shared, remedy)
        rows_per_shard = stored["rows_per_shard"]
        for declared in (N_TOKENS, TRUNCATED):
            document = chunked_array((n_rows,), declared.dtype, rows_per_shard, declared.dims)
            begin_array(self.storage, join(prefix, declared.name), document)
