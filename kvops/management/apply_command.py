"""Shared by the commands that apply a definition: reading the file, printing the outcome."""

import json
from pathlib import Path

from django.core.management.base import CommandError, OutputWrapper

from kvops.environments.toml import Applied
from kvops.models import PreparedChange


def read_file(path: Path) -> str:
    """The text of a file; raises CommandError (exit 2) if it cannot be read."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}", returncode=2) from error


def report(stdout: OutputWrapper, outcome: Applied | PreparedChange, *, as_json: bool) -> None:
    """Print the applied or prepared changes."""
    if isinstance(outcome, PreparedChange):
        state, changes, number = "prepared", outcome.summary.splitlines(), outcome.pk
        head = f"Prepared as change {number}: an operator submits it, a reviewer decides. Until then nothing changes."
    else:
        state, changes, number = "applied" if outcome.changes else "unchanged", list(outcome.changes), None
        head = "Applied." if changes else "Nothing to do: this is in force already."
    if as_json:
        stdout.write(json.dumps({"state": state, "changes": changes, "change": number}, ensure_ascii=False))
    else:
        stdout.write("\n".join([head, *(f"  {change}" for change in changes)]))
