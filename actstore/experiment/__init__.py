"""A whole experiment in one file, and running it stage by stage."""
