"""Writing what is asked for into one file."""

from __future__ import annotations

from pathlib import Path

from actstore.export.files import check_place, whole, write_arrays, write_table
from actstore.export.provenance import plans, provenance
from actstore.export.request import WHAT, ExportRequest
from actstore.export.states import states_of, write_states
from actstore.export.tables import TABLES, export_arrays, export_table
from actstore.refs import look_up
from actstore.store import Store


def export(store: Store, out: Path, request: ExportRequest) -> Path:
    """Write a table (.csv, .parquet) or labelled arrays (.nc), whole or not at all.

    Parquet and NetCDF say units, and in their attributes which store and which weights the numbers
    are of. States are written in pieces, as float32. Raises UnknownNameError for what there is not,
    InvalidInputError for a place that cannot be written and a CSV file that would be too large,
    MissingShardsError for states that were never extracted.
    """
    look_up("kind of export", request.what, [*WHAT], "Write for instance: --what scores")
    check_place(out, overwrite=request.overwrite)
    told = provenance(store, request.what)
    if request.what in TABLES:
        _export_numbers(store, out, request, told)
        return out
    states = states_of(store, request)
    told |= plans([one.group for one in states])
    with whole(out, overwrite=request.overwrite) as partial:
        write_states(states, partial, told)
    return out


def _export_numbers(store: Store, out: Path, request: ExportRequest, told: dict[str, str]) -> None:
    if out.suffix == ".nc":
        arrays = export_arrays(store, request)
        with whole(out, overwrite=request.overwrite) as partial:
            write_arrays(arrays, partial, told)
        return
    table = export_table(store, request)
    with whole(out, overwrite=request.overwrite) as partial:
        write_table(table, partial, told)
