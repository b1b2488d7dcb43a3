"""Tokenizers of many checkpoints, loaded once for all that have the same files."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import xxhash

from actstore.extract.checkpoints.sources import Source, read_file
from actstore.extract.tokenise import load_tokenizer, tokenizer_digest, tokenizer_source

_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt"),
    *("spiece.model", "tokenizer.model", "sentencepiece.bpe.model"),
)
"""The files that most tokenizers are made of; a chat template does not change the tokens."""
_MOST = 8
"""Tokenizers kept: one of 50,000 words takes some 30 MB."""

_loaded: OrderedDict[str, tuple[Any, str]] = OrderedDict()


def shared_tokenizer(source: Source) -> tuple[Any, str]:
    """A checkpoint's tokenizer and its digest, to be read only: others may have got the same one.

    Loaded once per content of its files; a tokenizer made of files that are not compared, or by
    code of its own, is loaded anew each time. Raises InvalidInputError where there is none.
    """
    content = _content(source)
    if content in _loaded:
        _loaded.move_to_end(content)
        return _loaded[content]
    tokenizer = load_tokenizer(source)
    found = tokenizer, tokenizer_digest(tokenizer)
    made_of = {name for name in tokenizer.vocab_files_names.values() if name}
    if not source.trust_remote_code and made_of <= set(_FILES):
        _loaded[content] = found
        while len(_loaded) > _MOST:
            _loaded.popitem(last=False)
    return found


def _content(source: Source) -> str:
    """xxh3-128, in hex, of all that decides which tokenizer is loaded."""
    holder, digest = tokenizer_source(source), xxhash.xxh3_128()
    for name in ("config.json", *_FILES):
        content = read_file(holder, name)
        digest.update(f"{name} {None if content is None else len(content)}\n".encode())
        digest.update(content or b"")
    return digest.hexdigest()
