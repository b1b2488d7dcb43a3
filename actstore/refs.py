"""Names of models, checkpoints and layers: how they are written, compared and looked up."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from actstore.errors import InvalidInputError, UnknownNameError

_STEP = re.compile(r"(?:^|[^a-z])(?:step|global_step|checkpoint)[-_]?(\d+)", re.IGNORECASE)


def model_name(model: str) -> str:
    """What stores call a model: a hub name as it is, a local folder by its own name."""
    try:
        folder = Path(model).expanduser()
        local = model.startswith((".", "/", "~")) or folder.is_dir()
        return folder.resolve().name if local else model
    except (OSError, RuntimeError, ValueError):  # a name that no folder can have
        return model


def model_key(model: str) -> str:
    """The group name of a model in a store: `EleutherAI/pythia-70m` -> `EleutherAI__pythia-70m`."""
    return model.replace("/", "__")


def checkpoint_key(checkpoint: str) -> str:
    """The group name of a checkpoint: revisions may hold slashes (`refs/pr/3`), group names not."""
    return checkpoint.replace("/", "__")


def training_step(checkpoint: str) -> int | None:
    """The training step a checkpoint's name states: `step1000` -> 1000, `main` -> None."""
    match = _STEP.search(checkpoint)
    return int(match.group(1)) if match else None


def by_training_step(checkpoints: Iterable[str]) -> list[str]:
    """Checkpoints in training order; those without a step (`main`) come last, by name."""
    return sorted(
        checkpoints,
        key=lambda name: ((step := training_step(name)) is None, step or 0, name),
    )


def parse_layers(selection: str, n_blocks: int) -> tuple[int, ...]:
    """The layers a selection names, ascending and without repeats.

    `all`, single layers and ranges, comma-separated: `0,3,6`, `15-23` (inclusive), `-4:` (the
    last four), `:3`, `2:8` (end exclusive), `-1`. Layer 0 is the embedding output, layer i the
    output of block i; a model of n_blocks blocks has n_blocks + 1 layers.
    Raises InvalidInputError for what cannot be read and UnknownNameError for a layer that the
    model does not have.
    """
    every = range(n_blocks + 1)
    chosen: set[int] = set()
    for part in (piece.strip() for piece in selection.split(",")):
        if part == "all":
            chosen.update(every)
        elif match := re.fullmatch(r"(-?\d+)?:(-?\d+)?", part):
            low, high = (int(g) if g else None for g in match.groups())
            chosen.update(every[low:high])
        elif match := re.fullmatch(r"(\d+)-(\d+)", part):
            low, high = int(match[1]), int(match[2])
            chosen.update(_existing(layer, n_blocks) for layer in range(low, high + 1))
        elif re.fullmatch(r"-?\d+", part):
            chosen.add(_existing(int(part), n_blocks))
        else:
            raise InvalidInputError(
                f"Cannot read {part!r} in the layers {selection!r}. "
                "Write for instance: all | 0,3,6 | 15-23 | -4: (the last four)."
            )
    if not chosen:
        raise InvalidInputError(
            f"The layers {selection!r} select none of the {n_blocks + 1} layers 0..{n_blocks}."
        )
    return tuple(sorted(chosen))


def _existing(layer: int, n_blocks: int) -> int:
    if not -(n_blocks + 1) <= layer <= n_blocks:
        raise UnknownNameError(
            f"There is no layer {layer}: a model of {n_blocks} blocks has the layers 0 (the "
            f"embedding output) to {n_blocks}, or counted from the end -{n_blocks + 1} to -1."
        )
    return layer % (n_blocks + 1)


def ranges(numbers: Sequence[int]) -> str:
    """`0-3, 6`: runs of neighbours as ranges."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


def look_up(kind: str, name: str, known: Sequence[str], how_to_list: str) -> str:
    """`name` if it is one of `known`; else UnknownNameError with the nearest names.

    kind: what is looked up (`pooling`), for the message. how_to_list: what to type to see all.
    """
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(repr(n) for n in near)}?" if near else _some(known)
    raise UnknownNameError(f"There is no {kind} {name!r}. {hint} {how_to_list}")


def _some(known: Sequence[str]) -> str:
    if not known:
        return "There are none yet."
    shown = ", ".join(known[:8])
    return f"There are: {shown}{', …' if len(known) > 8 else ''}."
