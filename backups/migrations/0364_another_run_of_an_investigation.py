"""The run that deletes an investigation's copy may be followed by another once it failed or was stopped.

It carries one approval; where that is over, the next one needs a run of its own.
"""

from importlib import import_module

from django.db import migrations

_BEFORE = import_module("backups.migrations.0362_guards_of_investigations").GUARDS
_BEFORE = _BEFORE[: _BEFORE.index("CREATE TRIGGER")].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
_NOW = _BEFORE.replace(
    "(OLD.run_id IS NOT NULL AND NEW.run_id IS DISTINCT FROM OLD.run_id)",
    """(OLD.run_id IS NOT NULL AND NEW.run_id IS DISTINCT FROM OLD.run_id
         AND (NEW.run_id IS NULL OR NOT EXISTS (
           SELECT FROM kvops_run r WHERE r.id = OLD.run_id AND r.state IN ('failed', 'stopped'))))""",
)


class Migration(migrations.Migration):
    dependencies = [("backups", "0363_ended_early_in_words")]

    operations = [migrations.RunSQL(_NOW, _BEFORE)]
