"""One model over several devices: what `--device-map` says, and where a module runs."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from actstore.errors import InvalidInputError
from actstore.extract.model.extras import require_package

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


def device_of(module: nn.Module) -> torch.device:
    """The device a module runs on, which weights that wait on disk or CPU do not tell."""
    device = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
    if device is not None:
        return torch.device(device)
    weights = next(module.parameters(), None)
    return torch.device("cpu") if weights is None else weights.device


def _unreadable(written: str, reason: str) -> InvalidInputError:
    return InvalidInputError(
        f"Cannot read the device map {written!r} ({reason}). Write {', '.join(STRATEGIES)}, or a "
        """.json file such as {"gpt_neox.embed_in": 0, "gpt_neox.layers": 1, …}."""
    )


def to_device(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """A tensor of the host's memory on a device, without waiting for what that is busy with."""
    if torch.device(device).type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
