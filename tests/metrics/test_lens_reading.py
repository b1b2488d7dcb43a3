"""A prompt's table against scipy, and against the model's own steps in numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax, rel_entr, softmax

from actstore.errors import InvalidInputError
from actstore.metrics.lens.decoders import FINAL, RAW
from actstore.metrics.lens.gold import gold_id
from actstore.metrics.lens.reading import NO_GOLD, Prompt, TokenNames, read_prompt
from actstore.store import LensHead
from actstore.store.heads.head_ops import LayerNorm, Linear, Softcap

VOCABULARY = 120
LAYERS = (0, 2, 5, 6)


@pytest.fixture
def head(rng: np.random.Generator) -> LensHead:
    arrays = {
        "gain": rng.normal(1, 0.3, 8),
        "shift": rng.normal(size=8),
        "unembedding": rng.normal(size=(VOCABULARY, 8)),
        "bias": rng.normal(size=VOCABULARY),
    }
    ops = (LayerNorm("gain", "shift", 1e-5), Linear("unembedding", "bias"), Softcap(9.0))
    return LensHead(ops, arrays, 0.0)


@pytest.fixture
def names() -> TokenNames:
    return TokenNames.of(vocabulary([f"w{i}" for i in range(VOCABULARY)]), VOCABULARY)


def vocabulary(tokens: list[str], **flags: list[int]) -> pd.DataFrame:
    """flags: the ids that have them."""
    table = pd.DataFrame({"id": range(len(tokens)), "token": tokens})
    for name in ("is_special", "is_blank"):
        table[name] = table["id"].isin(flags.get(name, []))
    return table


@pytest.fixture
def prompt(rng: np.random.Generator) -> Prompt:
    return Prompt(
        token_id=np.array([3, 7, 5, 9]),
        positions=(1, 3),
        gold=np.array([5, NO_GOLD]),
        states=rng.normal(size=(4, 2, 8)) * 3,
        layers=LAYERS,
    )


def test_every_column_is_scipys(head: LensHead, names: TokenNames, prompt: Prompt) -> None:
    table, _ = read_prompt(prompt, head, names, top=3)
    assert table["layer"].tolist() == [*LAYERS, *LAYERS]
    assert table["pos"].tolist() == [1] * 4 + [3] * 4
    assert table["token"].tolist() == ["w7"] * 4 + ["w9"] * 4
    for i, line in table.iterrows():
        layer, place = int(str(i)) % 4, int(str(i)) // 4
        logits, final = (head.logits(prompt.states[at, place][None])[0] for at in (layer, -1))
        p, q = softmax(logits), softmax(final)
        order = np.argsort(-p)
        assert [line[f"top{k}"] for k in (1, 2, 3)] == [f"w{v}" for v in order[:3]]
        assert [line[f"prob{k}"] for k in (1, 2, 3)] == pytest.approx(p[order[:3]])
        assert line["rest_mass"] == pytest.approx(1 - p[order[:3]].sum())
        assert line["p_top1"] == pytest.approx(p.max())
        assert line["p_top5"] == pytest.approx(np.sort(p)[-5:].sum())
        assert line["entropy_bits"] == pytest.approx(-(p @ log_softmax(logits)) / np.log(2))
        assert line["teacher_entropy_bits"] == pytest.approx(-(q @ log_softmax(final)) / np.log(2))
        kl, back = rel_entr(p, q).sum() / np.log(2), rel_entr(q, p).sum() / np.log(2)
        assert line["kl_to_final_bits"] == pytest.approx(kl, abs=1e-12)
        assert line["kl_final_to_layer_bits"] == pytest.approx(back, abs=1e-12)
        a, b = (
            head.unembedding @ head.norm(prompt.states[at, place][None])[0] for at in (layer, -1)
        )
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        assert line["cos_to_final"] == pytest.approx(cosine)
        length = np.linalg.norm(prompt.states[layer, place])
        assert line["raw_resid_norm"] == pytest.approx(length)
        normed = np.linalg.norm(head.norm(prompt.states[layer, place][None]))
        assert line["resid_norm_ratio"] == pytest.approx(normed / length)
        if place == 0:
            assert line["answer"] == "w5"
            assert line["p_answer"] == pytest.approx(p[5])
            assert line["answer_rank"] == 1 + (p > p[5]).sum()
            assert line["is_answer"] == (p.argmax() == 5)


def test_a_position_without_gold_has_no_answer(
    head: LensHead, names: TokenNames, prompt: Prompt
) -> None:
    table, found = read_prompt(prompt, head, names)
    without = table[table["pos"] == 3]
    assert without[["answer", "p_answer", "answer_rank", "is_answer"]].isna().all(axis=None)
    assert found[3].l_semantic is None
    assert table[table["pos"] == 1][["answer", "p_answer", "is_answer"]].notna().all(axis=None)


def test_the_last_layer_is_the_model_whatever_the_lens(
    head: LensHead, names: TokenNames, prompt: Prompt
) -> None:
    final, _ = read_prompt(prompt, head, names, FINAL)
    raw, _ = read_prompt(prompt, head, names, RAW)
    last = final["layer"] == LAYERS[-1]
    assert (final.loc[last, "kl_to_final_bits"] == 0).all()
    assert (raw.loc[last, "kl_to_final_bits"] > 0.01).all()
    assert raw["teacher_entropy_bits"].tolist() == pytest.approx(
        final["teacher_entropy_bits"].tolist()
    )
    assert (final.loc[last, "entropy_bits"] == final.loc[last, "teacher_entropy_bits"]).all()


def sure_of(ids: list[int], size: int = 12) -> tuple[LensHead, np.ndarray]:
    """A head and states (layer, 1, hidden) that predict these ids with certainty."""
    head = LensHead((Linear("unembedding", None),), {"unembedding": 50 * np.eye(size)}, 0.0)
    return head, np.eye(size)[ids][:, None]


def flags_of(ids: list[int], **flags: list[int]) -> pd.DataFrame:
    head, states = sure_of(ids)
    tokens = TokenNames.of(vocabulary([f"w{i}" for i in range(12)], **flags), 12)
    prompt = Prompt(np.array([1, 2, 3, 4]), (2,), np.array([4]), states, tuple(range(len(ids))))
    return read_prompt(prompt, head, tokens)[0]


def test_copies_are_of_the_text_up_to_the_position() -> None:
    table = flags_of([1, 2, 3, 4, 9])
    assert table["copy_collapse"].tolist() == [True, True, True, False, False]
    assert table["copy_soft_k1@0.5"].tolist() == [True, True, True, False, False]
    assert table["copy_soft_k2@0.5"].tolist() == [False, True, True, False, False]
    assert table["copy_soft_k3@0.5"].tolist() == [False, False, True, False, False]
    assert table["is_answer"].tolist() == [False, False, False, True, False]


def test_blank_tokens_are_soft_copies_but_special_ones_are_none() -> None:
    table = flags_of([1, 2, 3], is_blank=[2], is_special=[1])
    assert table["copy_collapse"].tolist() == [False, False, True]
    assert table["copy_soft_k1@0.5"].tolist() == [False, True, True]


def test_milestones_are_over_the_flags_of_the_table() -> None:
    head, states = sure_of([9, 1, 4, 4])
    tokens = TokenNames.of(vocabulary([f"w{i}" for i in range(12)]), 12)
    prompt = Prompt(np.array([1, 2, 3, 4]), (2,), np.array([4]), states, (0, 3, 6, 8))
    _, found = read_prompt(prompt, head, tokens)
    named = found[2].named()
    assert (named["L_copy"], named["L_copy_H"], named["L_semantic"]) == (3, 0, 6)
    assert named["delta_layers"] == 3
    assert (named["first_kl_below_1.0"], named["first_rank_le_1"]) == (6, 6)
    assert named["L_semantic_frac"] == 0.75


def test_what_is_not_finite_is_missing_and_nothing_else(
    head: LensHead, names: TokenNames, prompt: Prompt
) -> None:
    states = prompt.states.copy()
    states[1, 0] = np.nan
    table, found = read_prompt(replace(prompt, states=states), head, names)
    whole, _ = read_prompt(prompt, head, names)
    missing = table["p_top1"].isna()
    assert missing.tolist() == [False, True] + [False] * 6
    line = table.loc[missing].drop(columns=["layer", "pos", "token", "answer"])
    assert line.drop(columns="teacher_entropy_bits").isna().all(axis=None)
    columns = ["entropy_bits", "kl_to_final_bits", "p_top5"]
    np.testing.assert_allclose(table.loc[~missing, columns], whole.loc[~missing, columns])
    assert found[1].first_kl_below[1.0] is None


def test_more_tokens_than_the_vocabulary_has_are_not_named() -> None:
    head, states = sure_of([0, 1], size=3)
    tokens = TokenNames.of(vocabulary(["a", "b", "c"]), 3)
    prompt = Prompt(np.array([1]), (0,), np.array([NO_GOLD]), states, (0, 1))
    table, _ = read_prompt(prompt, head, tokens, top=8)
    assert [name for name in table if str(name).startswith("prob")] == ["prob1", "prob2", "prob3"]
    assert table["rest_mass"].tolist() == pytest.approx([0, 0], abs=1e-12)


def test_ids_that_only_pad_the_vocabulary_have_a_number_and_are_special() -> None:
    tokens = TokenNames.of(vocabulary(["a", "", "b"]), 5)
    assert tokens.text.tolist() == ["a", "[1]", "b", "[3]", "[4]"]
    assert tokens.special.tolist() == [False, False, False, True, True]


WORDS = ["<s>", " Berlin", "Berlin", " Ber", "lin", "same", "same", " Munich", "</s>", "</s>"]


@pytest.fixture
def words() -> TokenNames:
    return TokenNames.of(vocabulary(WORDS, is_special=[0, 8]), len(WORDS))


@pytest.mark.parametrize(
    ("gold", "text", "expected"),
    [
        ("Berlin", "It is called", 1),
        (" Berlin", "It is called", 1),
        ("Berlin", "It is called ", 2),
        ("lin", "Ber", 4),
        ("Munich", "It is", 7),
        ("</s>", "It is", 9),
        ("<s>", "It is", 0),
        (3, "It is", 3),
    ],
)
def test_a_gold_token_is_found_with_its_space(
    gold: str | int, text: str, expected: int, words: TokenNames
) -> None:
    assert gold_id(gold, text, words) == expected


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("Bern", r"'Bern' is no single token.*begins with: ' Ber'"),
        ("Paris", r"No token is its beginning"),
        ("same", r"2 tokens decode to 'same': 5, 6.*--gold-id N"),
        (10, r"no token 10.*0 to 9"),
        (-1, r"no token -1"),
    ],
)
def test_a_gold_that_is_not_one_token_is_refused(
    gold: str | int, said: str, words: TokenNames
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        gold_id(gold, "It is called", words)
