"""Finding damage: everything that was written against what is there now.

`running.py` looks at all there is; `shards.py` and `documents.py` say how; `judging.py` says what
it means to the user; `mending.py` removes what is then made again.
"""

from actstore.store.verify.report import Note, Problem, Repaired, VerifyReport
from actstore.store.verify.running import verify_store

__all__ = ["Note", "Problem", "Repaired", "VerifyReport", "verify_store"]
