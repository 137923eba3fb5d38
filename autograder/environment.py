"""nbgrader starts `alembic` by name: importing this puts our own environment's programs first on PATH.

Without it, nothing of nbgrader works where the environment is used but not activated (`.venv/bin/autograder …`).
PostgreSQL's library, which reads these variables, would wait for a silent server or a lock without end. And jsonschema,
which nbformat imports, would spend two seconds on a grammar of internationalised addresses, which no notebook's schema
asks for; it does without where that library is not to be had.
"""

import os
import sys
from pathlib import Path

PROGRAMS = str(Path(sys.executable).parent)

if PROGRAMS not in os.environ.get("PATH", "").split(os.pathsep):
    os.environ["PATH"] = os.pathsep.join([PROGRAMS, os.environ.get("PATH", os.defpath)])

os.environ.setdefault("PGCONNECT_TIMEOUT", "10")  # seconds
os.environ.setdefault("PGOPTIONS", "-c lock_timeout=30s")

sys.modules.setdefault("rfc3987_syntax", None)  # imported before nbformat: `autograder.grading` sees to it
