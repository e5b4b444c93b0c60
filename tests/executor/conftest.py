"""Children get the parent's module path: `executor_jobs` lies beside this file."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
