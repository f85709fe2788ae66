"""A merge of millions of keys spends more time on row-by-row foreign keys than on everything else."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("kvops", "0060_guards_of_what_is_over")]

    operations = [
        migrations.AlterField(
            model_name="key",
            name="family",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                to="kvops.family",
            ),
        ),
        migrations.AlterField(
            model_name="key",
            name="first_seen",
            field=models.ForeignKey(
                db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, to="kvops.scan"
            ),
        ),
        migrations.AlterField(
            model_name="key",
            name="namespace",
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to="kvops.namespace"),
        ),
        migrations.AlterField(
            model_name="stagedkey",
            name="scan",
            field=models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, to="kvops.scan"),
        ),
    ]
