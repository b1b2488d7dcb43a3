"""Lens heads and fitted lenses as they are stored, and what token ids stand for."""
