"""Load a checkpoint: its configuration and tokenizer, and its weights when they are needed."""

from __future__ import annotations

import platform
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

import tokenizers
import torch
import transformers
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM
from transformers.utils import logging as transformers_logging

from actstore import __version__
from actstore.errors import InvalidInputError, ModelStructureError, StateRangeError
from actstore.extract.checkpoints.sources import Source
from actstore.extract.model.adapters import merge_adapter
from actstore.extract.model.blocks import ModelStructure, find_structure
from actstore.extract.model.layers import require_padding_to_be_ignored
from actstore.extract.model.layouts import masks_needed
from actstore.extract.model.learnt import Learnt, Masks
from actstore.extract.model.placement import DeviceMap, device_of, parse_device_map


@dataclass(frozen=True)
class LoadSettings:
    """How weights are loaded."""

    device: str = "auto"
    """`auto`: the accelerator if there is one, else `cpu`; or torch's name of a device."""
    compute_dtype: str = "auto"
    """`auto`: the weights' own dtype on an accelerator, float32 on a CPU."""
    attn: str | None = None
    """transformers' attn_implementation: `sdpa`, `eager`, `flash_attention_2`; None: its choice."""
    pickled_weights: bool = False
    """Read pytorch_model.bin where there are no safetensors."""
    device_map: str | None = None
    """Spread over devices, as `parse_device_map` reads it; None: everything on `device`."""


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode on its device."""

    source: Source
    structure: ModelStructure
    lm: nn.Module | None
    """The model with its language-model head, where it was asked for and has one."""
    device: torch.device
    """Where token ids go: with a device map, states come from other devices too."""
    dtype: torch.dtype
    """Of the computation."""
    masks: Masks = Masks.ALWAYS
    """Which batches need an attention mask."""
    learnt: Learnt = field(default_factory=Learnt, compare=False)
    """Grows as it runs."""


def load_config(source: Source) -> transformers.PretrainedConfig:
    """A checkpoint's configuration; of an adapter its base model's.

    Raises InvalidInputError if it cannot be used.
    """
    whole = source.base or source
    try:
        with quiet():
            return AutoConfig.from_pretrained(
                whole.name, revision=whole.revision, trust_remote_code=whole.trust_remote_code
            )
    except (OSError, ValueError) as error:
        raise _unusable(source, "config.json", error) from error


def load_model(source: Source, settings: LoadSettings, *, lm_head: bool) -> LoadedModel:
    """Load a checkpoint's weights, and find and check its blocks.

    A PEFT adapter is merged into its base model first. lm_head: keep the language-model head too,
    where the checkpoint has one. Raises InvalidInputError for weights that cannot be read,
    StateRangeError for weights that are not finite, ModelStructureError for a model whose layers
    cannot be told or whose weights are incomplete,
    MissingDependencyError for a device map without accelerate or an adapter without peft.
    """
    config = load_config(source)
    device = resolve_device(settings.device)
    dtype = resolve_dtype(settings.compute_dtype, config, device)
    device_map = parse_device_map(settings.device_map) if settings.device_map else None
    # Adapters and maps name the modules of the model with its head.
    with_head = lm_head or source.base is not None or isinstance(device_map, dict)
    auto = _auto_class(config) if with_head else AutoModel
    model, missing = _load_weights(auto, source, settings, dtype, device_map, device)
    base = _base_of(model)
    base.config.use_cache = False  # states of all texts at once: nothing is generated
    base.config.rescale_every = 0  # RWKV's: it would halve its states every so many blocks
    try:
        structure = find_structure(base)
        require_padding_to_be_ignored(structure)
    except ModelStructureError:
        _require_finite(base, source)  # NaN equals nothing: no structure can be told from it
        raise
    _require_weights(model, structure, missing)
    lm = model if lm_head and auto is not AutoModel and not missing else None
    device = device_of(base.get_input_embeddings())
    with quiet():
        masks = masks_needed(structure)
    return LoadedModel(source, structure, lm, device, dtype, masks)


def resolve_device(name: str) -> torch.device:
    """The device of this name. Raises InvalidInputError if it is not there."""
    if name == "auto":
        found = (
            torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        )
        return found or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInputError(
            f"Cannot use the device {name!r}: {reason} Try --devices auto or --devices cpu."
        ) from error
    return device


def resolve_dtype(
    name: str, config: transformers.PretrainedConfig, device: torch.device
) -> torch.dtype:
    """The dtype to compute in. Raises InvalidInputError for a name torch does not know."""
    if name == "auto":
        stored = config.get_text_config().dtype
        return torch.float32 if device.type == "cpu" or stored is None else stored
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise InvalidInputError(
            f"Cannot compute in {name!r}: write auto, float32, bfloat16 or float16."
        )
    return dtype


def device_name(device: torch.device) -> str:
    """What a device is, in words: `NVIDIA H200`, `cpu (x86_64)`."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device.type} ({platform.machine()})"


def library_versions() -> dict[str, str]:
    """Versions of everything that has a say in the numbers."""
    return {
        "actstore": __version__,
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "python": platform.python_version(),
    }


@contextmanager
def quiet() -> Iterator[None]:
    """transformers without bars and reports: what matters in them is checked here."""
    verbosity, bars = (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def may_have_head(config: transformers.PretrainedConfig) -> bool:
    """Whether a checkpoint was saved with a language-model head, as its config says."""
    return _auto_class(config) is not AutoModel


def _load_weights(
    auto: Any,
    source: Source,
    settings: LoadSettings,
    dtype: torch.dtype,
    device_map: DeviceMap | None,
    device: torch.device,
) -> tuple[Any, set[str]]:
    """The model on its devices, and the names of parameters that the files do not hold."""
    whole = source.base or source
    try:
        with quiet(), ExitStack() as until_freed:
            offloaded = TemporaryDirectory(prefix="actstore-offloaded-") if device_map else None
            model, report = auto.from_pretrained(
                whole.name,
                revision=whole.revision,
                trust_remote_code=whole.trust_remote_code,
                dtype=dtype,
                attn_implementation=settings.attn,
                use_safetensors=None if settings.pickled_weights else True,
                output_loading_info=True,
                device_map=device_map,
                offload_folder=until_freed.enter_context(offloaded) if offloaded else None,
            )
            weakref.finalize(_base_of(model), until_freed.pop_all().close)
            model = model if device_map else model.to(device)
            if source.base is not None:
                model = merge_adapter(model, source, pickled=settings.pickled_weights)
        return model.eval(), set(report["missing_keys"])
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise _unusable(source, "weights", error) from error


def _unusable(source: Source, what: str, error: Exception) -> InvalidInputError:
    reason = " ".join(str(error).split())
    return InvalidInputError(
        f"Cannot use the {what} of {source.model} at {source.checkpoint}: {reason[:400]}"
    )


def _auto_class(config: transformers.PretrainedConfig) -> Any:
    """The class that loads the head the checkpoint was saved with; AutoModel if it has none."""
    saved_as = (config.architectures or [""])[0]
    if config.is_encoder_decoder:
        return AutoModel
    if saved_as.endswith(("ForCausalLM", "LMHeadModel")):
        return AutoModelForCausalLM
    if saved_as.endswith("ForMaskedLM"):
        return AutoModelForMaskedLM
    return AutoModel


def _base_of(model: Any) -> Any:
    """The model without head; of an encoder-decoder the encoder."""
    base = model.base_model
    return base.get_encoder() if model.config.is_encoder_decoder else base


def _require_finite(base: nn.Module, source: Source) -> None:
    """Raise StateRangeError naming a weight that is infinite or NaN."""
    for name, values in base.named_parameters():
        if not values.is_meta and not values.isfinite().all():
            raise StateRangeError(
                f"{name} of {source.model} at {source.checkpoint} holds infinite or NaN values, "
                "and so do its states. Save or download it again, or leave the checkpoint out."
            )


def _require_weights(model: nn.Module, structure: ModelStructure, missing: set[str]) -> None:
    """Raise ModelStructureError if weights that the layers need are random: not in the files."""
    parts = [*structure.blocks, structure.base.get_input_embeddings()]  # type: ignore[operator]
    if structure.final_norm is not None:
        parts.append(structure.final_norm)
    needed = {id(parameter) for part in parts for parameter in part.parameters()}
    named = model.named_parameters(remove_duplicate=False)
    absent = [name for name, parameter in named if name in missing and id(parameter) in needed]
    if absent:
        raise ModelStructureError(
            f"The files have no weights for {len(absent)} parameters of "
            f"{type(model).__name__}, the first: {absent[0]}. Is it the model its config.json says?"
        )
