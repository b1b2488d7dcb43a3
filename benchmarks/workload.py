"""What the extraction benchmarks run: texts of realistic lengths and a model of Pythia's shape."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from actstore.stdlib_text import docstrings

_END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class Shape:
    """Sizes of a GPT-NeoX; by default of Pythia-70m."""

    blocks: int = 6
    hidden: int = 512
    heads: int = 8
    vocabulary: int = 50304
    positions: int = 2048

    def __str__(self) -> str:
        return f"{self.blocks} blocks of width {self.hidden}"


@dataclass(frozen=True)
class Lengths:
    """Tokens of the texts: lognormal, cut at the longest, which always occurs.

    By default as in the texts of MTEB's tasks taken together: most are sentences, few are long.
    """

    median: int = 25
    p95: int = 135
    longest: int = 450

    def draw(self, n: int) -> list[int]:
        """n lengths, the distribution's quantiles, in random order (seeded)."""
        normal = NormalDist(np.log(self.median), np.log(self.p95 / self.median) / 1.645)
        drawn = [np.exp(normal.inv_cdf((i + 0.5) / n)) for i in range(n - 1)]
        lengths = np.clip(np.rint([*drawn, self.longest]), 2, self.longest).astype(int)
        return [int(one) for one in np.random.default_rng(0).permutation(lengths)]


@dataclass(frozen=True)
class Settings:
    """How large the benchmarks are, and where they may write."""

    folder: Path
    """Models, stores and results; on the disk that is to be measured."""
    environments: Path
    """Where the peers' environments are kept from run to run."""
    shape: Shape = Shape()
    texts: int = 512
    lengths: Lengths = Lengths()
    max_tokens: int = 512
    rounds: int = 3
    threads: int = 1
    """Of torch, in every case alike."""


@dataclass(frozen=True)
class Workload:
    """A model on disk and texts in memory, in order of arrival."""

    model: Path
    texts: list[str]


def make_workload(settings: Settings, n_texts: int | None = None) -> Workload:
    """The settings' model, made when it is first asked for, and their texts or n of the kind."""
    model = settings.folder / "model"
    if not (model / "model.safetensors").exists():
        save_model(model, settings.shape)
    return Workload(model, make_texts(model, settings.lengths.draw(n_texts or settings.texts)))


def save_model(folder: Path, shape: Shape, dtype: torch.dtype = torch.float32) -> Path:
    """A random model with a byte-level BPE learnt from the standard library's docstrings.

    The tokenizer has fewer tokens than the model has embeddings: what either costs stays the same.
    """
    tokenizer = _learn_tokenizer(min(8192, shape.vocabulary))
    tokenizer.save_pretrained(folder)
    config = transformers.GPTNeoXConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.blocks,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.hidden,
        max_position_embeddings=shape.positions,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    transformers.GPTNeoXForCausalLM(config).to(dtype).save_pretrained(folder)
    return folder


def make_texts(model: Path, lengths: list[int]) -> list[str]:
    """Different texts of about these many tokens each, cut from the docstrings joined.

    A piece cut out of a text may take a token more or less than it took within.
    """
    whole, offsets = _docstrings_joined(model)
    rng, found = np.random.default_rng(0), dict[str, None]()
    for n in lengths:
        before = len(found)
        while len(found) == before:
            first = int(rng.integers(len(offsets) - n))
            found[whole[offsets[first][0] : offsets[first + n - 1][1]]] = None
    return list(found)


@functools.cache
def _docstrings_joined(model: Path) -> tuple[str, list[tuple[int, int]]]:
    """One text of all docstrings, and where in it each token begins and ends."""
    whole = "\n\n".join(record.text for record in docstrings())
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    return whole, tokenizer.backend_tokenizer.encode(whole).offsets


def _learn_tokenizer(vocabulary: int) -> transformers.PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[_END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((record.text for record in docstrings()[::4]), trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=_END_OF_TEXT,
        eos_token=_END_OF_TEXT,
        pad_token=_END_OF_TEXT,
        model_max_length=2048,
    )
