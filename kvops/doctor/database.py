"""The role of the connection and its rights, and the migrations."""

from collections.abc import Iterator

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils.translation import gettext_lazy as _

from kvops.doctor.findings import Diagnosis, Examined, ok, wrong
from kvops.wording import say

_ROLE = """
SELECT current_user,
       rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
       OR EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = current_schema()
                  AND pg_has_role(current_user, tableowner, 'USAGE')),
       (SELECT tablename FROM pg_tables
         WHERE schemaname = current_schema()
           AND NOT has_table_privilege(quote_ident(schemaname) || '.' || quote_ident(tablename), 'SELECT')
         ORDER BY 1 LIMIT 1),
       to_regclass('audit_entry') IS NOT NULL AND has_table_privilege('audit_entry', 'UPDATE')
  FROM pg_roles WHERE rolname = current_user
"""
"""The role, whether it is powerful, the first table that it may not read, and whether it may edit the audit log."""


def roles(_examined: Examined) -> Iterator[Diagnosis]:
    """Check that the connection works as a role that owns nothing and has exactly its rights."""
    about = _("Database role")
    with connection.cursor() as cursor:
        cursor.execute(_ROLE)
        role, powerful, unreadable, edits = cursor.fetchone()
    if powerful:
        sentence = _(
            "%(role)s owns the tables or may create roles, so it could edit the audit log. Run manage.py setup_roles "
            "as the owner, and give this process the role of KVOPS_APP_DATABASE_URL."
        )
        yield wrong(about, say(sentence, role=role))
    elif unreadable:
        sentence = _("%(role)s may not read %(table)s. Run manage.py setup_roles as the owner, after each migrate.")
        yield wrong(about, say(sentence, role=role, table=unreadable))
    elif edits:
        sentence = _("%(role)s may edit the audit log. Run manage.py setup_roles as the owner, after each migrate.")
        yield wrong(about, say(sentence, role=role))
    else:
        yield ok(about, str(role))


def migrations(_examined: Examined) -> Iterator[Diagnosis]:
    """Check that the database has every migration of this code."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        first = f"{plan[0][0].app_label} {plan[0][0].name}"
        sentence = _("%(migration)s is missing. Run manage.py migrate and then setup_roles, both as the owner.")
        yield wrong(_("Migrations"), say(sentence, migration=first))
    else:
        yield ok(_("Migrations"))
