"""The logit lens: what every layer would predict, and what follows from it."""
