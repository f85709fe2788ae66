from django.db import migrations, models
from django.db.models import Value


def _json(value: object, default: type) -> "models.JSONField[object, object]":
    return models.JSONField(blank=True, default=default, db_default=Value(value, models.JSONField()))


class Migration(migrations.Migration):
    dependencies = [("backups", "0005_digested_backups")]

    operations = [
        migrations.AddField("dataset", "migrated_at", _json({}, dict)),
        migrations.AddField("dataset", "newer_by", _json({}, dict)),
        migrations.AddField("dataset", "orphans", _json([], list)),
        migrations.AddField("check", "newer", models.BigIntegerField(default=0, db_default=0)),
        migrations.AddField("checkrow", "newer_at", models.DateTimeField(null=True)),
        migrations.AddField("difference", "newer_at", models.DateTimeField(null=True, blank=True)),
    ]
