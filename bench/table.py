"""How a result is kept: a line of a Markdown table, with the commit it was measured at."""

import subprocess
from collections.abc import Sequence

from bench.place import ROOT


def line(cells: Sequence[str]) -> str:
    """One line of the table."""
    return f"| {' | '.join(cells)} |\n"


def commit() -> str:
    """The commit measured; with a `+` when code was changed since, `uncommitted` outside a repository."""
    head = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", "audit", "backups", "kvops", "tests", "bench", ":!bench/results")
    return f"{head}{'+' if changed else ''}" if head else "uncommitted"


def at(commit: str, path: str) -> str:
    """A file as it was at a commit; empty if it was not there."""
    return _git("show", f"{commit}:{path}")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
