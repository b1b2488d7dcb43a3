"""How metrics and scores go together, with what chance would do among series that are smooth."""

from actstore.report.correlation.coefficients import Method
from actstore.report.correlation.correlate import CorrelationRequest, correlate, to_xarray
from actstore.report.correlation.scopes import Scope
from actstore.report.multiple_tests import Correction, adjusted

__all__ = [
    "Correction",
    "CorrelationRequest",
    "Method",
    "Scope",
    "adjusted",
    "correlate",
    "to_xarray",
]
