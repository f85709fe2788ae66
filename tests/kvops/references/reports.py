"""Reports of searches that a test words in one line."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from kvops.references.report import Hit, Report

DAWN = datetime(2026, 1, 1, tzinfo=UTC)
COMMIT = "c" * 40


def hit(
    file: str = "functions/clinics.ts",
    *,
    line: int = 7,
    certainty: str = "certain",
    access: str = "read",
    family: str = "SETTINGS master:*",
    text: str = '"master:"',
    context: Sequence[str] = ("const key =", '  "master:" + id;', ""),
) -> Hit:
    """One place in the code."""
    return Hit(file, line, 3, certainty, access, family, text, tuple(context))  # type: ignore[arg-type]


def report(*hits: Hit, hours: float = 0, commit: str = COMMIT, unparsed: Sequence[str] = ()) -> Report:
    """A report of a search so many hours after dawn."""
    return Report(commit, 3, DAWN + timedelta(hours=hours), hits, tuple(unparsed), repository="site")
