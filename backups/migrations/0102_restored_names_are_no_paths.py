"""No path is ever on the list of what to put back: a single put has the name in its address."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("backups", "0171_names_are_no_paths")]

    operations = [
        migrations.AddConstraint(
            model_name="restoreentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("name__in", ["", ".", ".."]), _negated=True), name="restore_name_is_no_path"
            ),
        ),
    ]
