"""The entries about a reveal of a key's value are found by the key's name, as the views are (migration 0004)."""

from django.db import migrations

INDEX = """
CREATE INDEX audit_entry_revealed ON audit_entry USING hash ((details -> 'key')) WHERE action = 'value.revealed';
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0004_find_by_key")]

    operations = [migrations.RunSQL(INDEX, "DROP INDEX audit_entry_revealed;")]
