"""Do the migrations after the release work with the running code? Run as `python -m tests.upgrades`.

An upgrade migrates while the code of before still serves, so a migration only adds: tables, columns that may be empty
or have a default in the database, indexes, constraints that the old code keeps. One that does more must be named in the
CHANGELOG with the words `stop KVOps`, because the old code would fail on it.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import django
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

ROOT = Path(__file__).resolve().parent.parent
RELEASED = {"audit": 2, "backups": 2, "kvops": 2}
"""The newest migration of the newest release, by app. A new installation begins with it."""
ADDING = (
    migrations.AddConstraint,
    migrations.AddIndex,
    migrations.AlterModelManagers,
    migrations.AlterModelOptions,
    migrations.CreateModel,
    migrations.RemoveConstraint,
    migrations.RemoveIndex,
    migrations.RunPython,
    migrations.RunSQL,
)
"""RunSQL and RunPython are for people to judge; the others only add, or take a refusal away."""


def breaking(operations: Sequence[Operation]) -> Iterator[str]:
    """Each operation that the code of before would fail on, in words."""
    for one in operations:
        if isinstance(one, ADDING):
            continue
        if isinstance(one, migrations.AddField) and _may_be_left_out(one.field):
            continue
        yield one.describe()


def _may_be_left_out(field: "models.Field[object, object]") -> bool:
    """Whether an INSERT of code that does not know the column succeeds."""
    return field.null or field.has_db_default() or field.many_to_many is True


def unannounced(app: str, name: str, operations: Sequence[Operation], changelog: str) -> list[str]:
    """The breaking operations of a migration, unless a line of the CHANGELOG names it and says `stop KVOps`."""
    said = any(f"{app} {name[:4]}" in line and "stop KVOps" in line for line in changelog.splitlines())
    return [] if said else [f"{app} {name}: {what}" for what in breaking(operations)]


def main() -> int:
    """0 if each migration after the release only adds, or is announced."""
    django.setup()
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    found = []
    for (app, name), one in sorted(MigrationLoader(None).disk_migrations.items()):
        if app in RELEASED and int(name[:4]) > RELEASED[app]:
            found += unannounced(app, name, one.operations, changelog)
    print("\n".join([*found, f"{len(found)} operations that the running code would fail on"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
