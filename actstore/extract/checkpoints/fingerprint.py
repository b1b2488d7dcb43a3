"""What identifies a checkpoint's weights: a digest of its tensors, however they lie in files."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
import xxhash
from safetensors import SafetensorError, safe_open

from actstore.errors import InvalidInputError
from actstore.extract.checkpoints.hub import blob_name
from actstore.extract.checkpoints.sources import (
    Source,
    adapter_config,
    own_weight_files,
    weight_files,
)
from actstore.store import Json

_READ_AT_ONCE = 16 << 20
_SAMPLE = 256
"""Bytes at both ends of a tensor that a sampled digest covers."""
_DTYPES = {torch.bfloat16: "BF16", torch.bool: "BOOL"}
_KINDS = {"float": "F", "int": "I", "uint": "U", "complex": "C"}
_NOT_WEIGHTS = ("base_model_name_or_path", "revision", "inference_mode", "peft_version")
"""Entries of an adapter_config.json that do not change what the adapter does to the weights."""

_UNREADABLE = (
    *(OSError, EOFError, ValueError, RuntimeError, KeyError, TypeError, AttributeError),
    *(SafetensorError, pickle.UnpicklingError),
)


@dataclass(frozen=True, order=True)
class TensorDigest:
    """One tensor of a checkpoint."""

    name: str
    dtype: str
    """safetensors' name: `F32`, `BF16`."""
    shape: tuple[int, ...]
    digest: str
    """xxh3-128 of its bytes, in hex, or of the first and last few."""


def weights_digest(source: Source, *, pickled: bool = False) -> str:
    """What identifies a checkpoint's weights, 32 hex digits: xxh3-128 of all its tensors.

    Covers names, dtypes, shapes and bytes; not metadata, nor how tensors are shared out among
    files. Of a PEFT adapter: its tensors and settings, and its base model's tensors. Downloads the
    files if need be and reads every byte in file order, so that they are in memory afterwards.
    Raises InvalidInputError naming a file that is cut short or otherwise no weights file.
    """
    files = own_weight_files(source, pickled=pickled)
    own = digest_of_tensors(one for path in files for one in tensors_of(path))
    if source.base is None:
        return own
    settings = {k: v for k, v in adapter_config(source).items() if k not in _NOT_WEIGHTS}
    return _digest([own, settings, weights_digest(source.base, pickled=pickled)])


def weights_identity(source: Source, *, pickled: bool = False) -> list[Json]:
    """What tells cheaply that weights are still the same: equal identities have equal digests.

    [name, bytes, version] of each file, the version being the name of its blob in the hub cache or
    else when it was last written, in nanoseconds; and a digest of an adapter's settings. Errors as
    `weight_files`.
    """
    found = [_identity(path) for path in weight_files(source, pickled=pickled)]
    return found if source.base is None else [*found, _digest(adapter_config(source))]


def tensors_of(path: Path, *, sampled: bool = False) -> list[TensorDigest]:
    """The tensors of a weights file, in the file's order.

    sampled: digests of the first and last 256 bytes of each tensor only. Raises InvalidInputError
    for a file that cannot be read as what its name says.
    """
    read = _safetensors if path.suffix == ".safetensors" else _pickled
    try:
        return list(read(path, sampled))
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def digest_of_tensors(tensors: Iterable[TensorDigest]) -> str:
    """One digest of some tensors, in any order."""
    return _digest([astuple(one) for one in sorted(tensors)])


def _safetensors(path: Path, sampled: bool) -> Iterator[TensorDigest]:
    with safe_open(path, framework="np"):  # raises if the header and the file's size do not fit
        pass
    with path.open("rb", buffering=0) as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            start, stop = (8 + length + offset for offset in entry["data_offsets"])
            digest = _ends(file, start, stop) if sampled else _whole(file, start, stop)
            yield TensorDigest(name, entry["dtype"], tuple(entry["shape"]), digest)


def _whole(file: BinaryIO, start: int, stop: int) -> str:
    digest, buffer = xxhash.xxh3_128(), memoryview(bytearray(min(stop - start, _READ_AT_ONCE)))
    file.seek(start)
    while start < stop:
        n = file.readinto(buffer[: stop - start])  # type: ignore[attr-defined]
        if not n:
            raise EOFError("the file became shorter while it was read")
        digest.update(buffer[:n])
        start += n
    return digest.hexdigest()


def _ends(file: BinaryIO, start: int, stop: int) -> str:
    digest = xxhash.xxh3_128()
    for begin in (start, max(start, stop - _SAMPLE)):
        file.seek(begin)
        digest.update(file.read(min(_SAMPLE, stop - begin)))
    return digest.hexdigest()


def _pickled(path: Path, sampled: bool) -> Iterator[TensorDigest]:
    mapped = zipfile.is_zipfile(path)  # what torch wrote before 1.6 is none, and cannot be mapped
    # Only where pickled weights are allowed; weights_only unpickles tensors and nothing that runs.
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    for name, tensor in state.items():
        if torch.is_tensor(tensor):
            flat = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
            ends = flat[:_SAMPLE].tobytes() + flat[max(0, len(flat) - _SAMPLE) :].tobytes()
            digest = xxhash.xxh3_128_hexdigest(ends if sampled else flat)
            yield TensorDigest(name, _dtype_name(tensor.dtype), tuple(tensor.shape), digest)


def _dtype_name(dtype: torch.dtype) -> str:
    """safetensors' name of a dtype, so that converting weights leaves their digest as it is."""
    plain = str(dtype).removeprefix("torch.")
    kind = plain.rstrip("0123456789")
    return _DTYPES.get(dtype) or f"{_KINDS.get(kind, kind)}{plain.removeprefix(kind)}"


def _identity(path: Path) -> Json:
    status = path.stat()
    return [path.name, status.st_size, blob_name(path) or status.st_mtime_ns]


def _digest(content: Any) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(content, sort_keys=True).encode())


def _unreadable(path: Path, error: Exception) -> InvalidInputError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InvalidInputError(
        f"Cannot use the weights in {path}: {reason}. The file is cut short or no weights file: "
        "copy it again, or download it again (hf download MODEL --force-download)."
    )
