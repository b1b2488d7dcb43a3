"""A tiny Pythia, trained in a minute or two on two cores, for where there is no model hub.

It is built as Pythia is (GPT-NeoX with parallel residual, rotary positions and an untied output
embedding; a byte-level BPE tokenizer with `<|endoftext|>` as id 0) and keeps checkpoints from
initialisation on, at growing distances: https://arxiv.org/abs/2304.01373.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from actstore.extract.model.load import quiet
from actstore.extract.model.threads import cpu_threads
from actstore.progress import progress

_END_OF_TEXT = "<|endoftext|>"
_RECORD = "training.json"
"""Written into the folder when the training is complete."""


@dataclass(frozen=True)
class TinyPythia:
    """What is trained, and how."""

    blocks: int = 6
    hidden: int = 64
    heads: int = 4
    vocabulary: int = 2048
    """Tokens, the 256 bytes and `<|endoftext|>` included."""
    positions: int = 512
    """Longest text the model reads, in tokens."""
    steps: int = 1400
    keep: tuple[int, ...] = (0, 16, 64, 128, 256, 512)
    """Steps whose checkpoints are kept, besides the last."""
    batch: int = 8
    window: int = 128
    """Tokens in each text of a batch."""
    learning_rate: float = 8e-3
    warmup: int = 50
    """Steps until the learning rate is reached."""
    seed: int = 0
    threads: int = 1

    @property
    def kept(self) -> tuple[int, ...]:
        """Every step whose checkpoint is kept, ascending."""
        return (*sorted(step for step in set(self.keep) if step < self.steps), self.steps)


def train_tiny_pythia(
    texts: Sequence[str], folder: Path, recipe: TinyPythia | None = None
) -> list[str]:
    """Train on `texts`, keeping checkpoints; returns their names in training order.

    folder/step16 and the like are complete `save_pretrained` folders with their tokenizer, and
    the folder itself is one of the last checkpoint. A training that was interrupted starts again
    and comes to the same weights (on the same machine); one that is complete is not repeated.
    """
    recipe = recipe or TinyPythia()
    record = {"recipe": json.loads(json.dumps(asdict(recipe))), "texts": _digest(texts)}
    record_path = folder / _RECORD
    if not (record_path.exists() and json.loads(record_path.read_text("utf-8")) == record):
        record_path.unlink(missing_ok=True)
        with quiet(), _seeded(recipe.seed), cpu_threads(recipe.threads):
            _train(texts, folder, recipe)
        record_path.write_text(json.dumps(record, indent=1), "utf-8")
    return [f"step{step}" for step in recipe.kept]


def _train(texts: Sequence[str], folder: Path, recipe: TinyPythia) -> None:
    tokenizer = _train_tokenizer(texts, recipe)
    tokens = _token_stream(tokenizer, texts)
    model = _new_model(recipe)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=recipe.learning_rate,
        betas=(0.9, 0.95),
        weight_decay=0.1,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _pace(step, recipe))
    with progress("Training a tiny Pythia", recipe.steps, "steps") as advance:
        for step in range(recipe.steps):
            if step in recipe.kept:
                _save(model, tokenizer, folder / f"step{step}")
            batch = _windows(tokens, recipe)
            optimizer.zero_grad(set_to_none=True)
            model(input_ids=batch, labels=batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            advance(1)
    _save(model, tokenizer, folder / f"step{recipe.steps}")
    _save(model, tokenizer, folder)


def _train_tokenizer(texts: Sequence[str], recipe: TinyPythia) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[_END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=_END_OF_TEXT,
        eos_token=_END_OF_TEXT,
        unk_token=_END_OF_TEXT,
        model_max_length=recipe.positions,
    )


def _new_model(recipe: TinyPythia) -> GPTNeoXForCausalLM:
    config = GPTNeoXConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.hidden,
        num_hidden_layers=recipe.blocks,
        num_attention_heads=recipe.heads,
        intermediate_size=4 * recipe.hidden,
        max_position_embeddings=recipe.positions,
        use_parallel_residual=True,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        # Pythia's `small_init`, https://arxiv.org/abs/1910.05895; 0.02 is for a wider model.
        initializer_range=math.sqrt(2 / (5 * recipe.hidden)),
    )
    return GPTNeoXForCausalLM(config).train()


def _pace(step: int, recipe: TinyPythia) -> float:
    """The learning rate over its peak: linear warm-up, then a cosine to a tenth, as Pythia's."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / recipe.steps)))
    return min(1.0, (step + 1) / recipe.warmup) * (0.1 + 0.9 * cosine)


def _token_stream(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> Tensor:
    """All texts' tokens in a row, `<|endoftext|>` before each."""
    encoded = tokenizer.backend_tokenizer.encode_batch(list(texts))
    return torch.tensor([token for text in encoded for token in (0, *text.ids)])


def _windows(tokens: Tensor, recipe: TinyPythia) -> Tensor:
    """(batch, window) token ids from random places of the stream."""
    starts = torch.randint(len(tokens) - recipe.window, (recipe.batch, 1))
    return tokens[starts + torch.arange(recipe.window)]


def _save(model: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _digest(texts: Sequence[str]) -> str:
    whole = hashlib.blake2b(digest_size=16)
    for text in texts:
        whole.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return whole.hexdigest()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
