"""Evaluation: MTEB tasks scored from the store, without a model."""
