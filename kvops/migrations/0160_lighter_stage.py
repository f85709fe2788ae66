import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("kvops", "0101_guards_of_restores")]

    operations = [
        # A merge reads all that is staged; an index of the scan only made staging slower.
        migrations.AlterField(
            "stagedkey",
            "scan",
            models.ForeignKey(
                db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, to="kvops.scan"
            ),
        ),
    ]
