"""The program `actstore`: runs a command and turns what goes wrong into a message and a code."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from actstore.cli import app
from actstore.errors import ActstoreError, StoppedError

_EXTRAS = {
    "torch": "extract",
    "transformers": "extract",
    "mteb": "eval",
    "datasets": "eval",
    "sklearn": "eval",
    "sentence_transformers": "eval",
    "dask": "metrics",
    "distributed": "metrics",
    "scipy": "metrics",
    "altair": "report",
    "jinja2": "report",
    "matplotlib": "report",
    "vl_convert": "report",
    "h5netcdf": "export",
    "fsspec": "remote",
    "aiohttp": "remote",
    "obstore": "s3",
    "pydantic": "slurm",
    "yaml": "slurm",
    "dask_jobqueue": "slurm",
}
"""The extra that brings a package."""

_INTERRUPTED = 130
"""What typer ends with after a KeyboardInterrupt."""


def main() -> None:
    """Run the command line; an error of actstore's own is a message and an exit code."""
    try:
        app()
    except StoppedError as error:
        _leave(str(error), error.exit_code)
    except ActstoreError as error:
        _fail(str(error), error.exit_code, error)
    except ModuleNotFoundError as error:
        _fail(_what_to_install(error), 2, error)
    except MemoryError as error:
        _fail("There is not enough memory for this. Read fewer rows, layers or texts.", 1, error)
    except OSError as error:
        _fail(_what_the_system_says(error), 1, error)
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            _leave("Interrupted. What was committed stays; run the command again.", _INTERRUPTED)
        raise


def _what_to_install(error: ModuleNotFoundError) -> str:
    extra = _EXTRAS.get((error.name or "").partition(".")[0])
    if extra is None:
        return f"{error}. The installation is incomplete: pip install 'actstore[all]'"
    return f"This command needs {error.name}. Run: pip install 'actstore[{extra}]'"


def _what_the_system_says(error: OSError) -> str:
    from actstore.store.storage.failures import remedy  # zarr and pandas come with it

    what = f"{error.filename or 'The system'}: {error.strerror or error}."
    return " ".join([what, *filter(None, [remedy(error.errno)])])


def _leave(message: str, code: int) -> NoReturn:
    """End at once: a download or a text that threads are still at would hold the process up."""
    typer.secho(message, err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _fail(message: str, code: int, error: BaseException) -> None:
    if os.environ.get("ACTSTORE_DEBUG"):
        raise error
    notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", []))
    from actstore.present.terminal import printable

    typer.secho(f"Error: {printable(message + notes)}", err=True, fg=typer.colors.RED)
    sys.exit(code)


if __name__ == "__main__":
    main()
