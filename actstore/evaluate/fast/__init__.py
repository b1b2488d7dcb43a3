"""The same scores in less time: mteb's tasks rid of work that does not change a bit of them."""
