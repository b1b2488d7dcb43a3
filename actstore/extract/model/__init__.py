"""A checkpoint's model: loaded, its blocks and norm found, run layer by layer."""
