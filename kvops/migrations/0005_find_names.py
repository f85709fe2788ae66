"""Key names are found by a part, with PostgreSQL's extension `pg_trgm`; unexplained deletions by their name."""

from django.core.management import CommandError
from django.db import DatabaseError, migrations, models, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

REFUSED = (
    "PostgreSQL did not create the extension pg_trgm, by which keys are found: {error} If the extension is not"
    " available, install PostgreSQL's contrib modules on its server. If the permission is missing, have a superuser"
    " run “CREATE EXTENSION pg_trgm” in the database {database}. Then run migrate again."
)

# The extension may be in any schema, also in one that the search path does not have.
INDEX = """
DO $$ DECLARE home text; BEGIN
  SELECT n.nspname INTO STRICT home
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm';
  EXECUTE format('CREATE INDEX key_by_part ON kvops_key USING gin (name %I.gin_trgm_ops)', home);
END $$;
"""


def create_extension(_apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    connection = schema_editor.connection
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    except DatabaseError as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") + "."
        raise CommandError(REFUSED.format(error=reason, database=connection.settings_dict["NAME"])) from error


class Migration(migrations.Migration):
    dependencies = [("kvops", "0004_policy_versions")]

    operations = [
        migrations.RunPython(create_extension, migrations.RunPython.noop),
        migrations.RunSQL(INDEX, "DROP INDEX key_by_part;"),
        migrations.AddIndex(
            model_name="unexplaineddeletion",
            index=models.Index(fields=["name", "scan"], name="unexplained_by_name"),
        ),
    ]
