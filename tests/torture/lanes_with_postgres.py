"""Trials side by side: each lane is a program with a Postgres of its own, which may be lost and started again.

A lane is named by a class: `Lane(folder, database)` with `trial(seed, number)` and `close()`.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path

from bench.place import ROOT
from sandbox import postgres
from tests.torture.lanes import Program, side_by_side
from tests.torture.rows import Found


def trials(seed: int, numbers: Sequence[int], *, lane: str, scale: float, lanes: int) -> Iterator[tuple[int, Found]]:
    """The trials in so many lanes."""
    if not numbers:
        return
    with tempfile.TemporaryDirectory(prefix="kvops-apart-") as name:
        Path(name).chmod(0o755)  # the account that Postgres is lent to passes through
        template = _template(Path(name) / "template")
        programs = []
        for at in range(min(lanes, len(numbers))):
            folder = Path(name) / f"lane-{at}"
            subprocess.run(["cp", "-a", template, folder], check=True)
            more = [str(folder), lane, str(scale), str(seed)]
            programs.append(Program("tests.torture.postgres_lane", folder, more, os.environ))
        yield from side_by_side(programs, numbers)


def _template(folder: Path) -> Path:
    """A Postgres with our tables in it, stopped, for the lanes to copy."""
    with redirect_stdout(sys.stderr), postgres.serving(folder) as url:
        code = (
            "import tests.environ, django; django.setup();"
            "from django.core.management import call_command; call_command('migrate', verbosity=0)"
        )
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, check=True)
    (folder / "port").unlink()
    return folder
