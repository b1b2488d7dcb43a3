"""One model over several devices: what `--device-map` says, and where the input goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from actstore.errors import InvalidInputError
from actstore.extract.extras import require_package

STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")
"""accelerate's, https://huggingface.co/docs/accelerate/concept_guides/big_model_inference"""

DeviceMap = str | dict[str, int | str]


def parse_device_map(written: str) -> DeviceMap:
    """What `from_pretrained` takes as device_map.

    written: a strategy, or JSON or a .json file of {module: device}; a device is a number, torch's
    name of it, or `disk`, and modules are named as in the model with its head. Raises
    InvalidInputError for what cannot be read and MissingDependencyError without accelerate.
    """
    require_package("accelerate", "extract", "--device-map")
    if written in STRATEGIES:
        return written
    try:
        content = Path(written).read_text("utf-8") if written.endswith(".json") else written
        device_map: DeviceMap = json.loads(content)
    except (OSError, ValueError) as error:
        raise _unreadable(written, str(error)) from error
    if not isinstance(device_map, dict) or not device_map:
        raise _unreadable(written, "no JSON object")
    return device_map


def input_device(model: Any) -> torch.device:
    """The device on which a model takes token ids: that of its embedding when it runs."""
    embedding = model.get_input_embeddings()
    device = getattr(getattr(embedding, "_hf_hook", None), "execution_device", None)
    return embedding.weight.device if device is None else torch.device(device)


def _unreadable(written: str, reason: str) -> InvalidInputError:
    return InvalidInputError(
        f"Cannot read the device map {written!r} ({reason}). Write {', '.join(STRATEGIES)}, or a "
        """.json file such as {"gpt_neox.embed_in": 0, "gpt_neox.layers": 1, …}."""
    )
