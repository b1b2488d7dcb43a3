"""The examples run from the first line to the last, and are kept without what they print."""

from __future__ import annotations

import warnings
from pathlib import Path

import nbformat
import pytest

from tests.report.scored_store import scored_store

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_its_figures(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zmq's and Jupyter's own, of where they keep files
        from nbclient import NotebookClient

        monkeypatch.setenv("ACTSTORE_NOTEBOOK_STORE", scored_store(tmp_path).url)
        monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        notebook = nbformat.read(path, as_version=4)
        run = NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=tmp_path)
    shown = [output for cell in run.cells for output in cell.get("outputs", [])]
    pictures = [one for one in shown if "image/png" in one.get("data", {})]
    assert len(pictures) >= 3
    assert not [one for one in shown if one.output_type == "stream" and one.name == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_there_are_examples() -> None:
    assert NOTEBOOKS
