"""What turns the last layer into logits, found in a model and proved by replay."""
