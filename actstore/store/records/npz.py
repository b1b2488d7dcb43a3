"""npz that anybody may have written: arrays of numbers, none of which takes more than it has.

`numpy.load` makes room for what a header claims before it reads, and inflates what is compressed.
Ours are stored as they are, so an array is as large as its member, and is looked at in place.
Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from actstore.store.records.documents import damaged
from actstore.store.storage import Storage

_ENDING = ".npy"
_MOST_MEMBERS = 1 << 20
_WRONG = (ValueError, TypeError, LookupError, EOFError, SyntaxError, NotImplementedError)
"""What zipfile and numpy raise for bytes that nobody wrote as they are, with those below."""


def parse_npz(storage: Storage, key: str, data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an npz, by name. Raises CorruptShardError for anything that is none of ours."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > _MOST_MEMBERS or sum(one.file_size for one in members) > len(data):
                raise ValueError("it claims more bytes than it has")
            return {one.filename.removesuffix(_ENDING): _member(archive, one) for one in members}
    except (*_WRONG, OSError, RuntimeError, zipfile.BadZipFile, tokenize.TokenError) as error:
        raise damaged(storage, key, f"it is no npz ({error})") from error


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    file = io.BytesIO(archive.read(member))
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    shape, in_fortran_order, dtype = read_header[npy.read_magic(file)](file)
    body = file.read()
    if dtype.hasobject or dtype.kind not in "biuf" or min(shape, default=0) < 0:
        raise ValueError(f"{member.filename} is of {dtype} and shape {shape}")
    if math.prod(shape) * dtype.itemsize != len(body):
        raise ValueError(f"{member.filename} has {len(body):,} bytes for shape {shape}")
    values = np.frombuffer(body, dtype)
    return values.reshape(shape, order="F" if in_fortran_order else "C").copy()
