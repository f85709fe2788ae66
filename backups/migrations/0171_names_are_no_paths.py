"""No path is ever on the list of what to delete."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0101_guards_of_restores"),
    ]

    operations = [
        migrations.AddConstraint(
            model_name="cleanupentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("name__in", ["", ".", ".."]), _negated=True), name="cleanup_name_is_no_path"
            ),
        ),
    ]
