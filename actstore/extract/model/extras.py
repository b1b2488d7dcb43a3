"""Packages that only some extractions need."""

from __future__ import annotations

from importlib.util import find_spec

from actstore.errors import MissingDependencyError


def require_package(package: str, extra: str, what: str) -> None:
    """Raise MissingDependencyError unless a package is there.

    extra: the extra of actstore that installs it. what: needs it, for the message.
    """
    if find_spec(package) is None:
        raise MissingDependencyError(
            f"{what} needs {package}, which is not installed. Run: pip install 'actstore[{extra}]'"
        )
