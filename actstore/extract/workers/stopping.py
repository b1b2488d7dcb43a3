"""Signals that end a run: see `actstore.stopping`."""

from actstore.stopping import StopSignal as StopSignal
from actstore.stopping import stop_on_signals as stop_on_signals
