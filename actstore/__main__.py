"""`python -m actstore`."""

from actstore.cli import main

main()
