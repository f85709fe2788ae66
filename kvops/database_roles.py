"""The rights of each role of the database. Triggers refuse first; these grants refuse once more.

    owner         everything; owns the tables                          `migrate`, `setup_roles`
    application   rows of every table, with these exceptions:          web, worker, sweep, commands
                  no UPDATE, DELETE or TRUNCATE of the audit log,
                  no DELETE of approvals, no UPDATE of their frozen columns (grants by column),
                  no DELETE of people and logins, no UPDATE of their names and addresses,
                  no UPDATE or DELETE of policy versions, searches for
                  references and notes of the runbook,
                  only reading of `django_migrations`,
                  no TRUNCATE, no DDL, no temporary tables, no `setval`
    web           the rights of the application, with shorter timeouts web, if KVOPS_WEB_DATABASE_URL is given
    verifier      SELECT of the audit log, and of the columns          `verify_audit`
                  that its verification compares with it

`manage.py setup_roles` makes them after each `migrate`; default privileges cover tables of later migrations until it
runs again. So an attacker with the application's password can neither change those rows nor switch a trigger off.
Only the owner could; the verification of the audit log is for that.

Three functions run with the owner's rights, because their callers have none. One moves the head of the audit chain
with a new entry; two analyse the stages of scans and listings. No grant keeps a role from choosing the number of an
entry (`INSERT … OVERRIDING SYSTEM VALUE`). The trigger refuses every number but the next, and `verify_audit` names
entries that the owner put in past it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db import connection, transaction
from psycopg import sql

from audit import claims
from kvops.refusals import Refused

EVERYTHING = "SELECT, INSERT, UPDATE, DELETE"
AUDIT_TABLES = ("audit_entry", "audit_head")
APPLICATION: Mapping[str, str] = {
    "audit_entry": "SELECT, INSERT",
    # A row lock needs a right to update, so the column is granted. The trigger lets no role change it.
    "audit_head": "SELECT, UPDATE (id)",
    "backups_outsidechange": "SELECT, INSERT",
    "django_migrations": "SELECT",
    "kvops_policyversion": "SELECT, INSERT",
    "kvops_referencehit": "SELECT, INSERT",
    "kvops_referencesearch": "SELECT, INSERT",
    "kvops_runbooknote": "SELECT, INSERT",
    "kvops_statedoperation": "SELECT, INSERT",
}
"""Tables on which the application has fewer rights than EVERYTHING."""
FROZEN: Mapping[str, frozenset[str]] = {
    "kvops_approvalrequest": frozenset(
        [
            "id",
            "kind",
            "subject",
            "title",
            "environment_id",
            "evidence",
            "digest",
            "requester_id",
            "created_at",
            "decide_by",
            "standing_until",
        ]
    ),
    "backups_differencecase": frozenset(
        ["id", "environment_id", "dataset_id", "source", "failed_id", "opened_by_id", "opened_at"]
    ),
    "backups_outsidesearch": frozenset(
        [
            "id",
            "generation_id",
            "earlier_id",
            "namespace_id",
            "outcome",
            "reason",
            "at",
            "changed",
            "new",
            "gone",
            "explained",
            "listed",
        ]
    ),
    "account_emailaddress": frozenset(["id", "email", "user_id"]),
    "kvops_emergencystop": frozenset(["id", "environment_id", "by_id", "at", "reason"]),
    "kvops_person": frozenset(["id", "name", "email", "created_at"]),
    "kvops_reviewerrecovery": frozenset(["id", "email", "name", "reason", "asked_by", "asked_at", "effective_at"]),
    "kvops_rolegrant": frozenset(["id", "person_id", "role", "granted_at", "granted_by", "approval_id", "recovery_id"]),
    "kvops_runbooktodo": frozenset(["id", "entry", "text", "owner_id", "due", "created_by_id", "created_at"]),
    "kvops_user": frozenset(["id", "person_id", "email", "date_joined"]),
}
"""Tables without a right to delete for the application, and the columns it cannot update."""


class GrantsRefused(Refused):
    """A role cannot get the intended rights; the message says how to correct it."""


_EACH = {"idle_in_transaction_session_timeout": "60s", "jit": "off", "random_page_cost": "1.1"}
"""Of each role but the owner.

A process paused in a transaction holds locks on rows, such as the head of the audit log, that others wait for. And
Postgres compiles statements that look expensive, which took longer than to run them: seconds for the overview. It takes
a page of an index for four times as dear as one of a scan, as on a turning disk, and reads whole months of a log.
"""
_ASKED = {"statement_timeout": "30s", "lock_timeout": "10s", **_EACH}
"""Of the web server: a page that waits longer fails, so that a few of them do not occupy every thread."""
_MIGRATING = {"lock_timeout": "10s"}
"""Of the owner: a migration that waits for a lock makes all later queries of that table wait behind it."""


@dataclass(frozen=True)
class Login:
    """A role and its password; an empty password leaves the stored one as it is."""

    role: str
    password: str


def setup(application: Login, verifier: Login | None = None, web: Login | None = None) -> None:
    """Create missing roles and give each exactly its rights and settings. Raises GrantsRefused.

    `web` has the rights of `application` and shorter timeouts; without it the web server works as `application`.

    Run it as the owner of the tables, after each `migrate`. One transaction, so that no role is without rights in
    between.
    """
    with transaction.atomic():
        owner, database, schema = _one("SELECT current_user, current_database(), current_schema()")
        logins = [application, *(login for login in (verifier, web) if login)]
        if len({owner, *(login.role for login in logins)}) <= len(logins):
            raise GrantsRefused(f"The roles must differ from each other and from the owner of the tables, {owner}.")
        _insist_owner(owner)
        for login in logins:
            _create(login)
            _insist_powerless(login.role, owner)
            _run("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}", schema, login.role)
            _run("REVOKE ALL ON ALL SEQUENCES IN SCHEMA {} FROM {}", schema, login.role)
            _run("GRANT CONNECT ON DATABASE {} TO {}", database, login.role)
            _run("GRANT USAGE ON SCHEMA {} TO {}", schema, login.role)
        _run("REVOKE CREATE ON SCHEMA {} FROM PUBLIC", schema)
        _run("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC", database)
        for table in _tables():
            _run(f"GRANT {_application(table)} ON {{}} TO {{}}", table, application.role)
        # For the tables of later migrations, until this runs again.
        _run(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {{}} GRANT {EVERYTHING} ON TABLES TO {{}}", schema, application.role)
        if web:
            _run("GRANT {} TO {}", application.role, web.role)
            _configure(database, web.role, _ASKED)
        for role, configuration in ((owner, _MIGRATING), (application.role, _EACH)):
            _configure(database, role, configuration)
        if verifier:
            _configure(database, verifier.role, _EACH)
            for table in AUDIT_TABLES:
                _run("GRANT SELECT ON {} TO {}", table, verifier.role)
            for table, columns in compared_columns().items():
                _run(f"GRANT SELECT ({', '.join(sorted(columns))}) ON {{}} TO {{}}", table, verifier.role)


def _configure(database: str, role: str, configuration: Mapping[str, str]) -> None:
    """Give a role its settings in this database, from its next connection on, and no others."""
    _run("ALTER ROLE {} IN DATABASE {} RESET ALL", role, database)
    for name, value in configuration.items():
        _run(f"ALTER ROLE {{}} IN DATABASE {{}} SET {name} = '{value}'", role, database)


def compared_columns() -> dict[str, set[str]]:
    """The columns of each table that the verification of the audit log reads."""
    found: dict[str, set[str]] = {"kvops_run": {"cursor"}}  # the heads in the manifests of backups
    for claim in claims.row_claims():
        found.setdefault(claim.table, set()).update(claim.columns)
    return found


def _application(table: str) -> str:
    if table in FROZEN:
        # In quotes, because `primary` is a word of SQL.
        changing = [f'"{column}"' for column in _columns(table) if column not in FROZEN[table]]
        return f"SELECT, INSERT, UPDATE ({', '.join(changing)})"
    return APPLICATION.get(table, EVERYTHING)


def _create(login: Login) -> None:
    exists = _rows("SELECT 1 FROM pg_roles WHERE rolname = %s", login.role)
    if not exists:
        _run("CREATE ROLE {} LOGIN", login.role)
    if login.password:
        with connection.cursor() as cursor:
            # Hashed here, so that the password appears in no statement log.
            libpq = cursor.connection.pgconn
            hashed = libpq.encrypt_password(login.password.encode(), login.role.encode(), b"scram-sha-256")
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
            cursor.execute(statement.format(sql.Identifier(login.role), sql.Literal(hashed.decode())))


def _insist_owner(owner: str) -> None:
    foreign = _rows(
        "SELECT tablename FROM pg_tables"
        " WHERE schemaname = current_schema() AND NOT pg_has_role(%s, tableowner, 'USAGE')",
        owner,
    )
    if foreign:
        raise GrantsRefused(f"{owner} does not own {foreign[0][0]}. Run this as the role that runs migrate.")


def _insist_powerless(role: str, owner: str) -> None:
    """Refuse a role with extra powers, and a role that is the owner or a member of it."""
    powers = "rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"
    [[powerful, member]] = _rows(
        f"SELECT {powers}, pg_has_role(rolname, %s, 'MEMBER') FROM pg_roles WHERE rolname = %s",  # noqa: S608
        owner,
        role,
    )
    if powerful or member:
        raise GrantsRefused(f"{role} is a superuser, may create roles or is a member of {owner}. Take another role.")


def _tables() -> Sequence[str]:
    return [row[0] for row in _rows("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")]


def _columns(table: str) -> Sequence[str]:
    query = (
        "SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = %s"
    )
    return sorted(row[0] for row in _rows(query, table))


def _rows(query: str, *params: str) -> list[tuple[str, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        return list(cursor.fetchall())


def _one(query: str) -> tuple[str, ...]:
    return _rows(query)[0]


def _run(statement: str, *names: str) -> None:
    """Run a statement with names in its braces."""
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
