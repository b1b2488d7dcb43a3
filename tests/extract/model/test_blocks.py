"""Blocks and final norms, against models with their later blocks taken out; what is refused.

`test_families.py` has every family's layers.
"""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModel, GPTNeoXConfig

from actstore.errors import ModelStructureError
from actstore.extract.model.blocks import ModelStructure, find_structure
from actstore.extract.model.layers import require_padding_to_be_ignored, run_layers
from tests.support.tiny_models import CONFIGS, HIDDEN, N_BLOCKS, VOCABULARY, tiny_model


def base_of(family: str) -> nn.Module:
    model = tiny_model(family)
    return model.get_encoder() if family == "t5" else model  # type: ignore[operator,no-any-return]


def some_ids() -> tuple[Tensor, Tensor]:
    ids = torch.randint(8, VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(3))
    return ids, torch.ones_like(ids, dtype=torch.bool)


def layers_of(structure: ModelStructure, layers: list[int]) -> dict[int, Tensor]:
    taken: dict[int, Tensor] = {}
    ids, mask = some_ids()
    run_layers(structure, ids, mask, layers, lambda i, states: taken.update({i: states.clone()}))
    return taken


def truncated(structure: ModelStructure, layer: int) -> Tensor:
    """The last hidden state of the same model with its later blocks taken out."""
    parent_path, _, name = structure.blocks_path.rpartition(".")
    parent = structure.base.get_submodule(parent_path)
    blocks = getattr(parent, name)
    config = structure.base.config
    setattr(parent, name, blocks[:layer])
    config.num_hidden_layers = layer  # Gemma2 counts with it
    try:
        with torch.inference_mode():
            ids, mask = some_ids()
            return structure.base(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    finally:
        setattr(parent, name, blocks)
        config.num_hidden_layers = N_BLOCKS


@pytest.mark.parametrize("family", [f for f in CONFIGS if f != "albert"])
def test_a_layer_is_what_the_truncated_model_makes_of_it(family: str) -> None:
    structure = find_structure(base_of(family))
    layers = layers_of(structure, list(range(N_BLOCKS + 1)))
    assert list(layers) == list(range(N_BLOCKS + 1))
    normed = structure.final_norm or nn.Identity()
    for layer, states in layers.items():
        with torch.inference_mode():
            torch.testing.assert_close(normed(states), truncated(structure, layer))


def test_a_shared_block_is_counted_by_its_calls() -> None:
    structure = find_structure(base_of("albert"))
    assert (len(structure.blocks), structure.n_blocks) == (1, N_BLOCKS)
    layers = layers_of(structure, [0, 1, 2, 3])
    ids, mask = some_ids()
    with torch.inference_mode():
        output = structure.base(ids, attention_mask=mask.long(), output_hidden_states=True)
    for layer, states in layers.items():
        assert torch.equal(states, output.hidden_states[layer])


@pytest.mark.parametrize("layers", [[0], [2], [1, 3]])
def test_only_the_wanted_layers_are_taken_and_no_later_block_runs(layers: list[int]) -> None:
    structure = find_structure(base_of("gpt_neox"))
    ran: list[int] = []
    for i, block in enumerate(structure.blocks, start=1):
        block.register_forward_hook(lambda *_, i=i: ran.append(i))
    everything = layers_of(structure, [0, 1, 2, 3])
    ran.clear()
    taken = layers_of(structure, layers)
    assert list(taken) == layers
    assert all(torch.equal(taken[i], everything[i]) for i in layers)
    assert ran == list(range(1, max(layers) + 1))


def test_no_hook_is_left_behind() -> None:
    structure = find_structure(base_of("llama"))
    layers_of(structure, [1])
    hooks = [m._forward_hooks or m._forward_pre_hooks for m in structure.base.modules()]
    assert not any(hooks)


SMALL = {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": N_BLOCKS}
SMALL |= {"num_attention_heads": 4, "intermediate_size": 48}


@pytest.mark.parametrize(
    ("family", "tried"),
    [
        ("XLNet", "layer: call 0 does not map"),  # (token, text, hidden)
        ("XLM", "attentions: call 1 does not take the output of call 0"),  # a list of each part
        ("Longformer", "encoder.layer: call 0 does not map"),  # pads to its window by itself
    ],
)
def test_blocks_in_another_layout_are_refused_with_what_was_tried(family: str, tried: str) -> None:
    sizes = SMALL | ({"d_head": 8} if family == "XLNet" else {})
    config = getattr(transformers, f"{family}Config")(**sizes)
    with pytest.raises(ModelStructureError, match=f"{family}Model .*3 layers.* {tried}"):
        find_structure(AutoModel.from_config(config).eval())


def test_states_that_a_model_rescales_between_its_blocks_are_refused() -> None:
    config = transformers.RwkvConfig(**SMALL, rescale_every=2)
    model = AutoModel.from_config(config).eval()
    with pytest.raises(ModelStructureError, match="call 2 does not take the output of call 1"):
        find_structure(model)
    config.rescale_every = 0
    assert find_structure(AutoModel.from_config(config).eval()).n_blocks == N_BLOCKS


def test_a_model_that_names_no_input_embeddings_is_refused() -> None:
    config = transformers.BartConfig(**SMALL, decoder_layers=N_BLOCKS)
    lm = transformers.AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(ModelStructureError, match="BartDecoderWrapper .* embeds tokens"):
        find_structure(lm.base_model)


def test_a_config_that_miscounts_the_blocks_is_refused() -> None:
    model = tiny_model("gpt_neox")
    model.config.num_hidden_layers = N_BLOCKS + 1
    with pytest.raises(ModelStructureError, match=r"says 4 layers\). Tried layers: 3 calls"):
        find_structure(model)


def test_a_model_that_changes_the_states_after_the_last_block_is_refused() -> None:
    class Scaled(type(tiny_model("gpt_neox"))):  # type: ignore[misc]
        def forward(self, **inputs: Tensor) -> object:
            output = super().forward(**inputs)
            output.last_hidden_state = 2 * output.last_hidden_state
            return output

    config = GPTNeoXConfig(**CONFIGS["gpt_neox"]().to_dict())
    with pytest.raises(ModelStructureError, match=r"final norm of Scaled.*final_layer_norm"):
        find_structure(Scaled(config).eval())


def test_a_model_whose_states_depend_on_padding_is_refused() -> None:
    config = transformers.FNetConfig(**SMALL)
    structure = find_structure(AutoModel.from_config(config).eval())
    with pytest.raises(ModelStructureError, match="Padding changes the states of FNetModel"):
        require_padding_to_be_ignored(structure)
