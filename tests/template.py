"""The test databases are copies of one that is migrated once, and kept until a migration changes."""

import sys
from hashlib import sha256
from pathlib import Path

import django
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from psycopg import sql


def migrated() -> str:
    """The name of a database in which every migration was applied; of several that ask for it, one makes it."""
    prefix = f"{connection.settings_dict['NAME']}_template_"
    name, making = f"{prefix}{_fingerprint()}", f"{prefix}making"
    with connection._nodb_cursor() as server:
        server.execute("SELECT pg_advisory_lock(hashtext(%s))", [prefix])
        server.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
        found = [row[0] for row in server.fetchall()]
        if name not in found:
            for other in found:
                server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(other)))
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(making)))
            _migrate(making)
            # Only what is finished has the name that is looked for.
            server.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*map(sql.Identifier, (making, name))))
    return name


def _fingerprint() -> str:
    """Another one whenever a migration of any application, or Django, is another."""
    modules = {sys.modules[migration.__module__] for migration in MigrationLoader(None).disk_migrations.values()}
    files = sorted(Path(str(module.__file__)) for module in modules)
    return sha256(b"".join([django.__version__.encode(), *(file.read_bytes() for file in files)])).hexdigest()[:16]


def _migrate(database: str) -> None:
    ours = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = database
    try:
        call_command("migrate", interactive=False, verbosity=0)
    finally:
        connection.close()
        connection.settings_dict["NAME"] = ours
