"""Other tools at the same work, each a small program that runs in an environment of its own."""
