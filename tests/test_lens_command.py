"""`actstore lens` on a real tiny model: what it prints and writes, against torch's own logits."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from scipy.special import rel_entr

from actstore.__main__ import main
from actstore.metrics.running.reading import open_lens, read_lens
from actstore.store import open_store
from tests.support.tiny_models import N_BLOCKS, save_tiny_model, tiny_texts

PROMPTS = ["the store holds every layer of", "each checkpoint’s states", "holds"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny GPT-NeoX, and a store of two checkpoints with all tokens of PROMPTS."""
    folder = tmp_path_factory.mktemp("lens")
    save_tiny_model(folder / "neox", "gpt_neox", checkpoints=("step0", "step10"))
    (folder / "prompts.txt").write_text("\n".join(PROMPTS), "utf-8")
    (folder / "others.txt").write_text("\n".join(tiny_texts(3)), "utf-8")
    extract = "extract s.zarr --model neox --dtype float32 --devices cpu --checkpoints"
    in_folder(
        folder, f"{extract} step0,step10 --texts prompts.txt --tokens all --tokens-name prompts"
    )
    in_folder(folder, f"{extract} step0 --texts others.txt")
    return folder


def in_folder(folder: Path, command: str) -> None:
    """Runs `actstore …`, which must do what it is told."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["actstore", *command.split()])
        with pytest.raises(SystemExit) as end:
            main()
    assert end.value.code == 0


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def lens(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `actstore lens s.zarr …`: exit code, standard output, errors on one line."""
    monkeypatch.chdir(folder)

    def call(*options: str) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["actstore", "lens", "s.zarr", *options])
            with pytest.raises(SystemExit) as end:
                main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, re.sub(r"\s+", " ", captured.err)

    return call


class Torch:
    """The model itself: every layer's next-token probabilities of a text."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder).double().eval()

    def probabilities(self, text: str, *, next_block: bool = False) -> np.ndarray:
        """(layer, token, vocabulary), the last layer's by the model's own head.

        The others' through the final norm, or through that with which the next block begins.
        """
        with torch.no_grad():
            out = self.model(**self.tokenizer(text, return_tensors="pt"), output_hidden_states=True)
            body, unembed = self.model.gpt_neox, self.model.get_output_embeddings()
            below = out.hidden_states[:-1]
            norms = [
                block.input_layernorm if next_block else body.final_layer_norm
                for block in body.layers
            ]
            read = [norm(states) for norm, states in zip(norms, below, strict=True)]
            logits = torch.cat([unembed(torch.cat(read)), out.logits])
        return torch.softmax(logits, dim=-1).numpy()


@pytest.fixture(scope="session")
def model(template: Path) -> Torch:
    return Torch(template / "neox" / "step0")


def test_a_csv_has_the_models_own_numbers(lens: Run, folder: Path, model: Torch) -> None:
    code, out, err = lens(
        *("--prompt-file", "prompts.txt", "--checkpoint", "step0"),
        *("--position", "all", "--top", "3", "--csv", "lens.csv"),
    )
    assert (code, out, err) == (0, "lens.csv written.\n", "")
    table = pd.read_csv(folder / "lens.csv", keep_default_na=False)
    for i, text in enumerate(PROMPTS):
        ids = model.tokenizer(text)["input_ids"]
        p = model.probabilities(text)
        lines = table[table["prompt_id"] == i].reset_index(drop=True)
        assert len(lines) == len(ids) * (N_BLOCKS + 1)
        assert lines["pos"].tolist() == np.repeat(range(len(ids)), N_BLOCKS + 1).tolist()
        for line in lines.to_dict("records"):
            at, final = p[line["layer"], line["pos"]], p[-1, line["pos"]]
            order = np.argsort(-at)
            assert line["token"] == model.tokenizer.decode([ids[line["pos"]]])
            assert line["top1"] == model.tokenizer.decode([order[0]])
            assert [line[f"prob{k}"] for k in (1, 2, 3)] == near(at[order[:3]])
            assert line["entropy_bits"] == near(-(at @ np.log2(at)))
            assert line["kl_to_final_bits"] == near(rel_entr(at, final).sum() / np.log(2))
            assert line["kl_final_to_layer_bits"] == near(rel_entr(final, at).sum() / np.log(2))
            if line["pos"] == len(ids) - 1:
                assert line["answer"] == line["answer_rank"] == ""
                continue
            following = ids[line["pos"] + 1]
            assert line["answer"] == model.tokenizer.decode([following])
            assert float(line["p_answer"]) == near(at[following])
            assert float(line["answer_rank"]) == 1 + (at > at[following]).sum()


def near(expected: Any) -> Any:
    return pytest.approx(expected, rel=1e-4, abs=2e-5)


def test_the_table_names_the_next_tokens_and_finds_the_gold(lens: Run, model: Torch) -> None:
    gold = model.tokenizer.decode([model.probabilities(PROMPTS[0])[-1, -1].argmax()])
    code, out, err = lens(
        "--text", PROMPTS[0], "--gold", gold, "--checkpoint", "step0", "--layers", "1,3"
    )
    assert (code, err) == (0, "")
    assert "neox at step0, lens final, token sample prompts" in out
    assert f"looking for {gold!r}" in re.sub(r"\s+", " ", out)
    rows = [line for line in out.splitlines() if re.match(r"\W+[0-9]+ ", line)]
    assert [re.findall(r"\d+", row)[0] for row in rows] == ["1", "3"]
    assert f"{gold!r} " in rows[-1]
    assert "0.00" in rows[-1]  # of the KL from the last layer to itself
    assert "rank ≤ 1 at" in out


def test_json_has_milestones_and_no_nan(lens: Run, folder: Path) -> None:
    (folder / "asked.jsonl").write_text(
        "\n".join(json.dumps({"prompt": text, "gold": " of"}) for text in PROMPTS[1:]), "utf-8"
    )
    code, _, err = lens("--prompt-file", "asked.jsonl", "--json", "lens.json")
    assert (code, err) == (0, "")
    first, second = json.loads((folder / "lens.json").read_text("utf-8"))
    assert [first["prompt_id"], first["prompt"]] == [0, PROMPTS[1]]
    assert [second["prompt_id"], second["prompt"]] == [1, PROMPTS[2]]
    assert "".join(first["tokens"]) == PROMPTS[1]
    assert first["checkpoint"] == "step10"  # the last one
    assert {line["answer"] for line in first["layers"]} == {" of"}
    [milestones] = first["milestones"].values()
    ranks = [line["answer_rank"] for line in first["layers"]]
    expected = [i for i, rank in enumerate(ranks) if rank <= 10]
    assert milestones["first_rank_le_10"] == (expected[0] if expected else None)
    assert milestones["first_kl_below_1.0"] is not None


@pytest.mark.parametrize("position", ["2", "-1", "last"])
def test_a_position_may_be_chosen(position: str, folder: Path, model: Torch) -> None:
    store = open_store(folder / "s.zarr")
    found = read_lens(store, PROMPTS[0], checkpoint="step0", position=position)
    n = len(model.tokenizer(PROMPTS[0])["input_ids"])
    place = int(position) % n if position != "last" else n - 1
    assert found.table["pos"].unique().tolist() == [place]
    alone = open_lens(store, "neox", "step0").read(PROMPTS[0], position="all").table
    same = alone[alone["pos"] == place].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.table, same, rtol=1e-5, atol=1e-7)


def test_the_next_blocks_norm_reads_all_layers_but_the_last(folder: Path, model: Torch) -> None:
    store = open_store(folder / "s.zarr")
    found = read_lens(store, PROMPTS[0], checkpoint="step0", lens="next_block").table
    p = model.probabilities(PROMPTS[0], next_block=True)[:, -1]
    assert found["prob1"].tolist() == near(p.max(axis=-1))
    assert found["entropy_bits"].tolist() == near(-(p * np.log2(p)).sum(axis=-1))


def test_the_raw_lens_skips_the_norm(folder: Path) -> None:
    store = open_store(folder / "s.zarr")
    final, raw = (read_lens(store, PROMPTS[0], lens=lens).table for lens in ("final", "raw"))
    assert (raw["resid_norm_ratio"] == 1).all()
    assert not np.allclose(final["entropy_bits"], raw["entropy_bits"])
    np.testing.assert_allclose(final["teacher_entropy_bits"], raw["teacher_entropy_bits"])


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 2, "Give either --text or --prompt-file"),
        (("--text", "a", "--prompt-file", "prompts.txt"), 2, "Give either"),
        (
            ("--text", "never seen"),
            3,
            "'never seen' is not among the texts of .*s.zarr.*actstore extract .*s.zarr --model "
            "neox --checkpoints step10 --texts prompts.txt --tokens all --tokens-name prompts2",
        ),
        (("--text", "holds "), 3, "It has this text without the spaces around it"),
        (
            ("--text", tiny_texts(3)[2]),
            3,
            r"not in any token sample of neox at step10 \(there are: prompts\).*prompts2",
        ),
        (("--text", "holds", "--tokens-name", "sampl"), 2, "no token sample 'sampl'"),
        (("--text", "holds", "--position", "99"), 2, "no position 99: the text has the tokens 0"),
        (("--text", "holds", "--position", "end"), 2, "Write last, all, or a number"),
        (("--text", "holds", "--gold", "Zürich"), 2, "'Zürich' is no single token"),
        (("--text", "holds", "--gold-id", "9999"), 2, "no token 9999"),
        (("--text", "holds", "--layers", "7"), 2, "There is no layer 7"),
        (("--text", "holds", "--lens", "tunde"), 2, "tunde"),
        (("--text", "holds", "--checkpoint", "step3"), 2, "no checkpoint in this store 'step3'"),
        (("--prompt-file", "none.txt"), 2, "no file none.txt"),
    ],
)
def test_mistakes_are_told_with_what_to_type(
    options: tuple[str, ...], code: int, said: str, lens: Run
) -> None:
    found, out, err = lens(*options)
    assert (found, out) == (code, "")
    assert re.search(said, err), err


def test_a_checkpoint_without_a_head_says_how_to_get_one(lens: Run, folder: Path) -> None:
    shutil.rmtree(folder / "s.zarr" / "models" / "neox" / "step10" / "head")
    code, _, err = lens("--text", "holds")
    assert code == 3
    assert "no lens head of neox at step10" in err
    assert "actstore extract" in err


def test_a_model_without_a_vocabulary_says_how_to_get_one(lens: Run, folder: Path) -> None:
    (folder / "s.zarr" / "models" / "neox" / "vocabulary.parquet").unlink()
    code, _, err = lens("--text", "holds")
    assert code == 3
    assert "vocabulary" in err
    assert "actstore extract" in err


def test_a_text_that_was_cut_says_so(lens: Run, folder: Path, capsys: Any) -> None:
    shutil.rmtree(folder / "s.zarr")
    extract = "extract s.zarr --model neox --checkpoints step0 --devices cpu --max-tokens 3"
    in_folder(folder, f"{extract} --texts prompts.txt --tokens all")
    capsys.readouterr()
    _, out, _ = lens("--text", PROMPTS[0])
    assert "cut to its first 3 tokens" in out
    assert read_lens(open_store(folder / "s.zarr"), PROMPTS[0]).cut
    assert "cut" not in lens("--text", PROMPTS[2])[1]
