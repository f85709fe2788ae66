"""Whether a database is of the history that the migration files continue.

Django knows migrations by name only, so a database of other content under the same names would be taken for ours. The
`0001_tables` of each app carries a stamp of the schema that the initial migrations make. `migrate` writes the stamps
as the comment of `django_migrations`, which a dump has too, and compares them before anything else. A database without
a comment is compared by its content, and is stamped by the `migrate` that takes it. One that has migrations of a newer
version, too, is compared by what may not be missing, and is never stamped.

The rest of an index after an interrupted migration is removed before the migration begins anew (`drop_unfinished`).
Such an index is built while everybody goes on writing: `AddIndexConcurrently`, outside a transaction.
"""

import re
from collections.abc import Iterator, Mapping

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.exceptions import InconsistentMigrationHistory
from django.db.migrations.loader import MigrationLoader
from psycopg import sql

from kvops.refusals import Refused

APPS = ("audit", "backups", "kvops")
INITIAL = "0001_tables"
OLDEST = "0.1.0"
"""The oldest version whose history these files continue."""
_STAMP = re.compile(r"(\w+) ([0-9a-f]{12})")
_COMMENT = "SELECT obj_description(to_regclass('django_migrations'), 'pg_class')"
_COLUMNS = """
SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
"""
_RULES = """
SELECT conname FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
UNION SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'i'
"""
_THERE = "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(%s)"
type Node = tuple[str, str]


class HistoryRefused(Refused):
    """The database is not one that these migrations continue."""


class History:
    """The migrations of our apps: those that the database has, and those that have files."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._loader = MigrationLoader(connection)
        self._files = {node for node in self._loader.disk_migrations if node[0] in APPS}
        self._applied = {node for node in self._loader.applied_migrations or () if node[0] in APPS}
        self._unknown = sorted(self._applied - self._files)

    def insist(self) -> None:
        """Read whether the database is one that `migrate` may change. Raises HistoryRefused.

        A database of a newer version passes: after a step back, the old code finds nothing to apply.
        """
        if earlier := self._earlier():
            first, rest = " ".join(earlier[0]), len(earlier) - 1
            raise _refused(f"no file has its migration {first}" + (f" (nor {rest} others)" if rest else ""))
        try:
            self._loader.check_consistent_history(self._connection)
        except InconsistentMigrationHistory as error:
            raise _refused(f"it has a migration without the one below it ({str(error).rstrip('.')})") from error
        if stamps := self._stamps_found():
            for app, stamp in self._stamps().items():
                if stamps.get(app) != stamp:
                    raise _refused(f"its {app} {INITIAL} has the stamp {stamps.get(app)} instead of {stamp}")
        elif self._applied:
            for difference in self._differences():
                raise _refused(f"its migrations have the names of these, but {difference}")

    def stamp(self) -> None:
        """Write the stamps of the initial migrations, once all are applied and none is there that has no file."""
        whole = {(app, INITIAL) for app in APPS} <= self._applied and not self._unknown
        if self._stamps_found() == self._stamps() or not whole:
            return
        words = "KVOps began with " + ", ".join(f"{app} {stamp}" for app, stamp in self._stamps().items())
        with self._connection.cursor() as cursor:
            cursor.execute(sql.SQL("COMMENT ON TABLE django_migrations IS {}").format(sql.Literal(words)))

    def _earlier(self) -> list[Node]:
        """The migrations without a file that no newer version can have added: their numbers are taken, or ours lack."""
        if not self._files <= self._applied:
            return self._unknown
        newest = {app: max(name for other, name in self._files if other == app) for app in APPS}
        return [(app, name) for app, name in self._unknown if name[:4] <= newest[app][:4]]

    def _stamps(self) -> dict[str, str]:
        return {app: getattr(self._loader.disk_migrations[app, INITIAL], "stamp", "") for app in APPS}

    def _stamps_found(self) -> Mapping[str, str]:
        with self._connection.cursor() as cursor:
            cursor.execute(_COMMENT)
            return dict(_STAMP.findall(cursor.fetchone()[0] or ""))

    def _differences(self) -> Iterator[str]:
        """Each table, column, constraint and index of the applied migrations that the database has otherwise.

        Migrations of a newer version may have added columns.
        """
        with self._connection.cursor() as cursor:
            cursor.execute(_COLUMNS)
            columns = cursor.fetchall()
            cursor.execute(_RULES)
            rules = {name for (name,) in cursor.fetchall()}
        for model in self._loader.project_state(sorted(self._applied & self._files)).apps.get_models(
            include_auto_created=True
        ):
            meta = model._meta
            if meta.app_label not in APPS:
                continue
            there = {column for table, column in columns if table == meta.db_table}
            wanted = {field.column for field in meta.local_concrete_fields}
            for column in sorted(map(str, wanted - there if self._unknown else there ^ wanted)):
                yield f"{meta.db_table}.{column} is {'missing' if column in wanted else 'more than they make'}"
            for rule in [*meta.constraints, *meta.indexes]:
                if rule.name not in rules:
                    yield f"{rule.name} of {meta.db_table} is missing"


def drop_unfinished(connection: BaseDatabaseWrapper) -> list[str]:
    """Drop the remains of the indexes that are to be built, and return their names.

    An index whose build was interrupted stays as an invalid one. One that was built, but whose migration was not noted
    any more, is built again.
    """
    loader = MigrationLoader(connection)
    applied = loader.applied_migrations or {}
    pending = [one for node, one in loader.disk_migrations.items() if node not in applied]
    names = [op.index.name for one in pending for op in one.operations if isinstance(op, AddIndexConcurrently)]
    with connection.cursor() as cursor:
        cursor.execute(_THERE, [names])
        found = sorted(name for (name,) in cursor.fetchall())
        for name in found:
            cursor.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(name)))
    return found


def _refused(reason: str) -> HistoryRefused:
    return HistoryRefused(
        f"Nothing was changed: this database is of another history, because {reason}; the oldest version that migrate"
        f" can take is {OLDEST}."
    )
