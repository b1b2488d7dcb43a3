"""A checkpoint's model, loaded when its first batch runs: a finished checkpoint loads nothing."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import torch

from actstore.errors import ModelStructureError
from actstore.extract.model.load import LoadedModel, LoadSettings, load_model
from actstore.extract.outline import Outline


class LazyModel:
    """Loads a checkpoint's model at most once."""

    def __init__(self, one: Outline, settings: LoadSettings, *, lm_head: bool) -> None:
        self.outline, self.settings, self.lm_head = one, settings, lm_head
        self._model: LoadedModel | None = None

    def get(self) -> LoadedModel:
        """The model. Raises ModelStructureError if it is not what its config says."""
        if self._model is None:
            model = load_model(self.outline.source, self.settings, lm_head=self.lm_head)
            found, said = model.structure.hidden_size, self.outline.hidden_size
            if found != said:
                raise ModelStructureError(
                    f"The blocks of {self.outline.source.model} give {found} values a token, its "
                    f"config says {said}. Correct hidden_size in its config.json."
                )
            self._model = model
        return self._model

    def drop_head(self) -> None:
        """Free the language-model head, which only finding the lens head needs."""
        if self._model is not None:
            self._model = replace(self._model, lm=None)

    def release(self) -> None:
        """Free the memory before another checkpoint is loaded."""
        if self._model is None:
            return
        weight = weakref.ref(next(self._model.structure.base.parameters()))
        self._model = None
        if weight() is not None:  # some models (Mamba) refer to themselves in a circle
            gc.collect()
        torch.cuda.empty_cache()
