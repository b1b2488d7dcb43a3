"""PEFT adapters as checkpoints: merged into their base model, which then runs like any other."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from torch import nn

from actstore.errors import InvalidInputError
from actstore.extract.checkpoints.fingerprint import tensors_of
from actstore.extract.checkpoints.sources import Source, own_weight_files
from actstore.extract.model.extras import require_package

_PREFIX = "base_model.model."
"""What PEFT puts before the names of a model's own modules."""


def merge_adapter(model: Any, adapter: Source, *, pickled: bool) -> Any:
    """The model with an adapter's changes added to its weights, in place.

    Raises MissingDependencyError without peft, and InvalidInputError for an adapter that cannot be
    merged or was made for another model: one whose weights do not all find their place.
    """
    require_package("peft", "peft", f"{adapter.model} at {adapter.checkpoint}, a PEFT adapter,")
    if {"cpu", "disk"} & {str(place) for place in getattr(model, "hf_device_map", {}).values()}:
        raise _cannot_merge(adapter, "parts of its base model are not on an accelerator")
    files = own_weight_files(adapter, pickled=pickled)
    names = {tensor.name for path in files for tensor in tensors_of(path, sampled=True)}
    target = model if _is_of(model, names) else model.base_model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights without a place, checked here instead
        peft_model = _load(target, files[0].parent, adapter)
        _require_fit(peft_model, names, adapter)
        merged = peft_model.merge_and_unload(safe_merge=True)
    assert merged is target, "PEFT merges in place"
    return model


def _load(target: nn.Module, folder: Path, adapter: Source) -> Any:
    from peft import PeftConfig, PeftModel

    try:
        config = PeftConfig.from_pretrained(folder)
        if config.is_prompt_learning:
            raise _cannot_merge(adapter, f"{config.peft_type.value} changes no weights")
        return PeftModel.from_pretrained(target, folder, torch_device="cpu")
    except (ValueError, RuntimeError, AttributeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise _cannot_merge(adapter, f"PEFT says of {type(target).__name__}: {reason}") from error


def _require_fit(model: Any, names: set[str], adapter: Source) -> None:
    """Raise InvalidInputError unless each weight of an adapter has its place, and each place one.

    names: of the adapter's weights. PEFT itself only warns, and leaves the model as it was there.
    """
    from peft import get_peft_model_state_dict

    places = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    own = {f"{_PREFIX}{name}" for name, _ in model.get_base_model().named_parameters()}
    if misplaced := (places - names) | (names - places - own):
        raise InvalidInputError(
            f"The PEFT adapter {adapter.model} at {adapter.checkpoint} does not fit its base "
            f"model: {len(misplaced)} weights have no counterpart, the first: {min(misplaced)}. "
            "Correct base_model_name_or_path in its adapter_config.json."
        )


def _is_of(model: nn.Module, names: set[str]) -> bool:
    """Whether an adapter was made for this model, rather than for the one inside its head."""
    first = {name.removeprefix(_PREFIX).split(".")[0] for name in names}
    return all(hasattr(model, child) for child in first)


def _cannot_merge(adapter: Source, reason: str) -> InvalidInputError:
    return InvalidInputError(
        f"Cannot merge the PEFT adapter {adapter.model} at {adapter.checkpoint}: {reason}. "
        "Correct its adapter_config.json, or save the adapted model whole and extract that."
    )
