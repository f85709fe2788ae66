"""An entry moves the head with the rights of the tables' owner, so that the application needs none of its own to."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_append_only")]

    operations = [
        migrations.RunSQL(
            "ALTER FUNCTION audit_entry_continues_head() SECURITY DEFINER SET search_path = public, pg_temp",
            "ALTER FUNCTION audit_entry_continues_head() SECURITY INVOKER RESET search_path",
        )
    ]
