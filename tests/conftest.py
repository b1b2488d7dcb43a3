"""What holds for every test."""

from __future__ import annotations

import os

# Tests run in several processes: torch's threads would wait for each other on busy cores. Read when
# torch and the BLAS libraries are first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
