"""One DuckDB file: facts are inserted, never updated; one process writes; lineage is a join.

The database file is never opened by path in the process that owns it (hashing or copying it would drop DuckDB's
lock); a copy is made with `COPY FROM DATABASE`.
"""

from flywheel.store.database import Store, read_only
from flywheel.store.rows import insert_rows

__all__ = ["Store", "insert_rows", "read_only"]
