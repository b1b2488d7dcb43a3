"""What a store holds as files of other tools: tables, labelled arrays, states."""

from __future__ import annotations

from actstore.export.exporting import export
from actstore.export.request import WHAT, ExportRequest

__all__ = ["WHAT", "ExportRequest", "export"]
