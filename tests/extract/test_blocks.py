"""The blocks and the final norm of every family, against what the model itself returns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModel, FNetConfig, GPTNeoXConfig, OPTConfig, XLNetConfig

from actstore.errors import ModelStructureError
from actstore.extract.blocks import ModelStructure, find_structure
from actstore.extract.layers import require_padding_to_be_ignored, run_layers
from tests.support.tiny_models import CONFIGS, HIDDEN, N_BLOCKS, NORMED, VOCABULARY, tiny_model


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


@pytest.mark.parametrize("family", CONFIGS)
def test_the_blocks_and_the_norm_are_found(family: str) -> None:
    structure = find_structure(base_of(family))
    assert (structure.n_blocks, structure.hidden_size) == (N_BLOCKS, HIDDEN)
    assert (structure.final_norm is not None) == (family in NORMED)
    require_padding_to_be_ignored(structure)


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


def test_mambas_layer_0_is_the_embedding_and_not_the_first_block() -> None:
    structure = find_structure(base_of("mamba"))
    ids, _ = some_ids()
    with torch.inference_mode():
        embedding = structure.base.get_input_embeddings()(ids)
    assert torch.equal(layers_of(structure, [0])[0], embedding)


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


def test_a_projection_to_another_width_is_no_final_norm() -> None:
    config = OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        num_hidden_layers=N_BLOCKS,
        num_attention_heads=4,
        ffn_dim=64,
        word_embed_proj_dim=16,
        do_layer_norm_before=False,
    )
    structure = find_structure(AutoModel.from_config(config).eval())
    assert (structure.final_norm, structure.hidden_size) == (None, HIDDEN)


def test_blocks_in_another_layout_are_refused_with_what_was_tried() -> None:
    config = XLNetConfig(vocab_size=VOCABULARY, d_model=HIDDEN, n_layer=N_BLOCKS, n_head=4)
    with pytest.raises(ModelStructureError, match=r"XLNetModel .*3 layers.* layer: call 0"):
        find_structure(AutoModel.from_config(config).eval())


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
    config = FNetConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, num_hidden_layers=N_BLOCKS, intermediate_size=64
    )
    structure = find_structure(AutoModel.from_config(config).eval())
    with pytest.raises(ModelStructureError, match="Padding changes the states of FNetModel"):
        require_padding_to_be_ignored(structure)
