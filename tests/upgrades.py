"""Do the migrations after the release work with the running code? Run as `python -m tests.upgrades`.

An upgrade migrates while the code of before still serves, so a migration only adds: tables, columns that may be empty
or have a default in the database, indexes, constraints that the old code keeps. One that does more must be named in the
CHANGELOG with the words `stop KVOps`, because the old code would fail on it.

An index of a table that may have millions of rows is built concurrently, because nobody could write meanwhile. That
takes a migration of its own, outside a transaction.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import django
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

ROOT = Path(__file__).resolve().parent.parent
RELEASED = {"audit": 2, "backups": 2, "kvops": 2}
"""The newest migration of the newest release, by app. A new installation begins with it."""
LARGE = {
    "audit": {"entry"},
    "backups": {"cleanupentry", "generationentry", "restoreentry", "storedobject"},
    "kvops": {"key"},
}
"""Models with a row for each entry of the audit log, each key or each object, by app."""
CONCURRENT = (AddIndexConcurrently, RemoveIndexConcurrently)
_BUILDS = re.compile(r"\b(?:INDEX|REINDEX)\b(?!\s+CONCURRENTLY)", re.IGNORECASE)
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


def locking(app: str, migration: migrations.Migration) -> Iterator[str]:
    """Each operation that builds an index of a large table while nobody can write, in words."""
    for one in migration.operations:
        of_large = getattr(one, "model_name_lower", "") in LARGE[app]
        if isinstance(one, CONCURRENT):
            if migration.atomic:
                yield f"{one.describe()}, in a transaction"
        elif not migration.atomic:
            yield f"{one.describe()}, beside an index that is built concurrently"
        elif (of_large and _makes_an_index(one)) or _says_one(app, one):
            yield f"{one.describe()}, not concurrently"


def _makes_an_index(operation: Operation) -> bool:
    if isinstance(operation, migrations.AddField):
        return bool(getattr(operation.field, "db_index", False) or operation.field.unique)
    unique = isinstance(operation, migrations.AddConstraint) and not isinstance(
        operation.constraint, models.CheckConstraint
    )
    return unique or isinstance(operation, migrations.AddIndex)


def _says_one(app: str, operation: Operation) -> bool:
    statements = str(operation.sql) if isinstance(operation, migrations.RunSQL) else ""
    named = any(re.search(rf"\b{app}_{model}\b", statements) for model in LARGE[app])
    return named and _BUILDS.search(statements) is not None


def unannounced(app: str, name: str, operations: Sequence[Operation], changelog: str) -> list[str]:
    """The breaking operations of a migration, unless a line of the CHANGELOG names it and says `stop KVOps`."""
    said = any(f"{app} {name[:4]}" in line and "stop KVOps" in line for line in changelog.splitlines())
    return [] if said else [f"{app} {name}: {what}" for what in breaking(operations)]


def main() -> int:
    """0 if each migration after the release only adds, or is announced, and none keeps a large table locked."""
    django.setup()
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    found = []
    for (app, name), one in sorted(MigrationLoader(None).disk_migrations.items()):
        if app in RELEASED and int(name[:4]) > RELEASED[app]:
            found += unannounced(app, name, one.operations, changelog)
            found += [f"{app} {name}: {what}" for what in locking(app, one)]
    print("\n".join([*found, f"{len(found)} operations that the running code would fail on or wait for"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
