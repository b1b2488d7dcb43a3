from __future__ import annotations

import re
from pathlib import Path

import pytest

from actstore.errors import InvalidInputError
from actstore.experiment.load import load_experiment, require_files

_SMALL = "name: small\nstore: s.zarr\nmodel: org/m\nsuite: demo\n"


def _file(folder: Path, text: str) -> Path:
    path = folder / "e.yaml"
    path.write_text(text, "utf-8")
    return path


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    made = load_experiment(_file(tmp_path, _SMALL))
    assert made.layers == "all"
    assert made.extract.dtype == "float16"
    assert made.tokens is None


def test_an_empty_section_is_as_if_left_out(tmp_path: Path) -> None:
    made = load_experiment(_file(tmp_path, f"{_SMALL}extract:\ntokens:\ncluster:\n"))
    assert made == load_experiment(_file(tmp_path, _SMALL))


def test_every_error_is_told_at_once_with_its_line_its_key_and_the_nearest(tmp_path: Path) -> None:
    text = """\
name: bad name
store: s.zarr
model: org/m
models: [{model: x, checkpoint: y}]
layers: 1-b
dtype: float32
poolings: [mean, meen]
stages: [colect, eval]
checkpoints: 1000
extract:
  dtpye: float16
  threads: 0
  device_map: 2
  compile: yes
metrics:
  metrics: [curvatur]
  fit_lenses: tuned
report: 3
cluster:
  stages:
    extrac: {}
    eval: {tme: 3, time: "24:00"}
"""
    with pytest.raises(InvalidInputError) as refused:
        load_experiment(_file(tmp_path, text))
    told = str(refused.value).splitlines()
    assert told[0].endswith("e.yaml cannot be used; there are 19 things to mend:")
    for line, expected in zip(told[1:], _EXPECTED, strict=True):
        assert re.match(f"- {expected}", line), line


_EXPECTED = [
    "model and models: each says which models to use. Keep one",
    "suite is missing. Give one of: suite, tasks, texts",
    r"metrics.fit_lenses: lenses are fitted to a token sample. Add `tokens: \{texts: 500\}`",
    r"name \(line 1\): must be up to 80 letters.*, not 'bad name'",
    r"models.0.checkpoint \(line 4\): there is no such key. Did you mean checkpoints\? The keys of "
    "models.0: model, checkpoints, layers",
    r"layers \(line 5\): Cannot read '1-b'",
    r"dtype \(line 6\): there is no such key. Did you mean extract.dtype\? The keys of an exp",
    r"poolings.1 \(line 7\): cannot be 'meen'. Did you mean mean\?",
    r"stages.0 \(line 8\): cannot be 'colect'. Did you mean collect\? There are: collect, extract",
    r"checkpoints \(line 9\): must be a list, not 1000",
    r"extract.dtpye \(line 11\): there is no such key. Did you mean dtype\? The keys of extract: ",
    r"extract.threads \(line 12\): must be 1 or more, not 0",
    r'extract.device_map \(line 13\): must be text: put it in quotes, "2"',
    r"extract.compile \(line 14\): must be true or false, not 'yes'",
    r"metrics.metrics \(line 16\): There is no metric 'curvatur'. Did you mean 'curvature'",
    r"report \(line 18\): must be a section of keys and values, not 3",
    r"cluster.stages.extrac \(line 21\): cannot be 'extrac'. Did you mean extract",
    r"cluster.stages.eval.time \(line 22\): '24:00' would be 24 minutes and 0 seconds",
    r"cluster.stages.eval.tme \(line 22\): there is no such key. Did you mean time\? The keys of "
    "cluster.stages.eval: partition",
]


def test_what_keys_say_together_is_told_of_a_file_that_is_valid_else(tmp_path: Path) -> None:
    text = f"{_SMALL}poolings: mean\n"
    with pytest.raises(InvalidInputError, match="there is one thing to mend:\n- evaluate.poolings"):
        load_experiment(_file(tmp_path, text))


@pytest.mark.parametrize("text", ["", "- a", "just text"])
def test_a_file_without_keys_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="Begin with: name: NAME"):
        load_experiment(_file(tmp_path, text))


def test_paths_begin_at_the_file_wherever_the_command_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    text = """\
name: e
store: ../s.zarr
models: [{model: ./m}, {model: org/hub}]
texts: {file: t.txt}
tokens: {texts: own.jsonl}
report: {out: r.html}
cluster: {profile: here.yaml}
"""
    made = load_experiment(_file(folder, text))
    monkeypatch.chdir(folder)
    assert load_experiment("e.yaml") == made
    assert made.store == str(tmp_path / "s.zarr")
    assert [one.model for one in made.models] == [str(folder / "m"), "org/hub"]
    assert made.texts
    assert made.texts.file == str(folder / "t.txt")
    assert made.tokens
    assert made.tokens.texts == str(folder / "own.jsonl")
    assert made.report_path == folder / "r.html"
    assert made.cluster.profile == str(folder / "here.yaml")


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("suite: layer-by-layer", "suite", "layer-by-layer"),
        ("suite: '$HOME'", "suite", "$HOME"),
        ("model: org/m", "model", "org/m"),
    ],
)
def test_names_are_no_paths(line: str, key: str, value: str, tmp_path: Path) -> None:
    text = "\n".join([*(one for one in _SMALL.splitlines() if not one.startswith(key)), line])
    assert getattr(load_experiment(_file(tmp_path, text)), key) == value


def test_a_store_in_a_bucket_stays_and_its_report_is_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB", "lab")
    file = _file(tmp_path, _SMALL.replace("s.zarr", "s3://$LAB/deep/s.zarr"))
    made = load_experiment(file)
    assert made.store == "s3://lab/deep/s.zarr"
    assert made.report_path == tmp_path / "small.html"
    assert load_experiment(file, ["report.out=pages/a.html"]).report_path == (
        tmp_path / "pages" / "a.html"
    )


def test_variables_and_homes_are_expanded_in_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.setenv("HOME", "/home/me")
    stores = {"$SCRATCH/s": "/scratch/me/s", "${SCRATCH}/s": "/scratch/me/s", "~/s": "/home/me/s"}
    for written, store in stores.items():
        made = load_experiment(_file(tmp_path, _SMALL), [f"store={written}"])
        assert made.store == store


def test_a_variable_that_is_not_set_is_told_with_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.setenv("DOLLAR", "a$b")
    text = _SMALL.replace("s.zarr", "$NOWHERE/s") + "layer: 3\nreport: {out: $DOLLAR}\n"
    with pytest.raises(InvalidInputError) as refused:
        load_experiment(_file(tmp_path, text))
    told = str(refused.value)
    assert "store (line 2): the environment variable NOWHERE is not set. Run: export" in told
    assert "layer (line 5): there is no such key. Did you mean layers?" in told
    assert "report.out (line 6)" in told
    assert "holds a $" in told


def test_files_that_are_not_there_are_all_named_before_anything_runs(tmp_path: Path) -> None:
    text = _SMALL.replace("org/m", "./m").replace("demo", "own.yaml") + "tokens: {texts: t.txt}\n"
    made = load_experiment(_file(tmp_path, text))
    with pytest.raises(InvalidInputError) as refused:
        require_files(made)
    for name in ("file .*own.yaml", "file .*t.txt", "folder .*/m"):
        assert re.search(f"There is no {name}\\.", str(refused.value))
    for name in ("own.yaml", "t.txt"):
        (tmp_path / name).touch()
    (tmp_path / "m").mkdir()
    require_files(made)
    require_files(load_experiment(_file(tmp_path, _SMALL)))
