"""The entries about a view of a key's value are found by the key's name."""

from django.db import migrations

# A hash, because an entry must never fail for its index: a B-tree refuses long texts.
INDEX = """
CREATE INDEX audit_entry_key ON audit_entry USING hash ((details -> 'key')) WHERE action = 'value.viewed';
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_canonical_bytes")]

    operations = [migrations.RunSQL(INDEX, "DROP INDEX audit_entry_key;")]
