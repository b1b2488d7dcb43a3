"""Ways to damage an object of a store, and the kinds of objects there are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

KINDS = {
    "data": r"models/[^/]+/[^/]+/\w+_pool/c\..*",
    "index": r"models/[^/]+/[^/]+/\w+_pool/c\..*",
    "text values": r"models/[^/]+/[^/]+/curvature/c\..*",
    "token states": r"models/.*/states/c\..*",
    "ledger": r"models/[^/]+/[^/]+/ledger/.*\.jsonl",
    "text table": r"texts/.*\.parquet",
    "text ledger": r"texts/.*\.jsonl",
    "coordinates": r"models/[^/]+/(n_tokens|truncated)/c\..*",
    "token labels": r"models/.*/tokens/sample/(?!states)\w+/c\..*",
    "layers": r"models/[^/]+/[^/]+/layer/c\..*",
    "documents": r"(.+/)?zarr\.json",
    "head": r"models/.*/head/.*/c\..*",
    "lens": r"models/.*/lenses/.*/c\..*",
    "manifest": r"tasks/.*manifest\.json",
    "task table": r"tasks/.*\.parquet",
    "suite": r"suites/(?!zarr).*\.json",
    "views": r"views/.*\.parquet",
    "vocabulary": r"models/[^/]+/vocabulary\.parquet",
    "scores": r"scores/(journal|leaves)/.*\.jsonl",
    "metrics": r"metrics/journal/.*\.jsonl",
    "metric values": r"metrics/values/.*\.npz",
    "experiments": r"experiments/(?!zarr).*\.(json|yaml)",
}
_INDEX = 68
"""Bytes at the end of a shard of `full_store`: four layers of one chunk, and the crc32c."""


@dataclass(frozen=True)
class Trial:
    """One damaged object."""

    kind: str
    key: str
    damage: str

    def __str__(self) -> str:
        return f"{self.damage} of {self.key} ({self.kind})"


class Damager:
    """Damages one object after the other of a store, and makes each whole again."""

    def __init__(self, root: Path, other: Path) -> None:
        """other: a store of other numbers and another plan; stale objects come from there."""
        self._root, self._other = root, other
        files = {
            p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()
        }
        self._whole: Mapping[str, bytes] = files

    def damage(self, kind: str, random: Random) -> Trial:
        """Damage an object of a kind in some way that changes it."""
        keys = [key for key in sorted(self._whole) if re.fullmatch(KINDS[kind], key)]
        assert keys, f"the store has no {kind}"
        while True:
            key, how = random.choice(keys), random.choice(sorted(_DAMAGES))
            changed = _DAMAGES[how](self, key, kind, random)
            if any(self._whole[name] != data for name, data in changed.items()):
                for name, data in changed.items():
                    self._write(name, data)
                return Trial(kind, key, how)

    def mend(self) -> None:
        """Make everything as it was."""
        for key, data in self._whole.items():
            path = self._root / key
            if not path.exists() or path.read_bytes() != data:
                self._write(key, data)

    def _write(self, key: str, data: bytes | None) -> None:
        path = self._root / key
        path.unlink(missing_ok=True)  # heads share their files
        if data is not None:
            path.write_bytes(data)

    def flip(self, key: str, kind: str, random: Random) -> dict[str, bytes | None]:
        data = bytearray(self._whole[key])
        start = max(0, len(data) - _INDEX) if kind == "index" else 0
        data[random.randrange(start, len(data))] ^= 1 << random.randrange(8)
        return {key: bytes(data)}

    def truncate(self, key: str, kind: str, random: Random) -> dict[str, bytes | None]:
        data = self._whole[key]
        return {key: data[: random.randrange(1, len(data))]}

    def empty(self, key: str, kind: str, random: Random) -> dict[str, bytes | None]:
        return {key: b""}

    def delete(self, key: str, kind: str, random: Random) -> dict[str, bytes | None]:
        return {key: None}

    def swap(self, key: str, kind: str, random: Random) -> dict[str, bytes | None]:
        """With another of the same kind and ending."""
        ending = key.rpartition("/")[2].split(".")[-1]
        alike = [k for k in self._whole if re.fullmatch(KINDS[kind], k) and k.endswith(ending)]
        other = random.choice(sorted(alike))
        return {key: self._whole[other], other: self._whole[key]}

    def stale(self, key: str, kind: str, random: Random) -> dict[str, bytes | None]:
        """Of the store of another plan; of a journal or experiment, from earlier in this one.

        Nothing in a line of scores, or in an experiment, says which store it was made for.
        """
        if kind in ("text ledger", "scores", "metrics", "experiments"):
            lines = self._whole[key].splitlines(keepends=True)
            return {
                key: b"".join(lines[: random.randrange(len(lines))] if len(lines) > 1 else lines)
            }
        path = self._other / key
        return {key: path.read_bytes() if path.exists() else self._whole[key]}


_DAMAGES: dict[str, Callable[[Damager, str, str, Random], dict[str, bytes | None]]] = {
    "bit flip": Damager.flip,
    "truncation": Damager.truncate,
    "zero length": Damager.empty,
    "deletion": Damager.delete,
    "swap": Damager.swap,
    "stale copy": Damager.stale,
}
