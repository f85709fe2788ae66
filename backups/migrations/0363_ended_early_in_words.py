"""What was left when a run was ended early may have been sent: the word no longer says that it was not."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0362_guards_of_investigations"),
    ]

    operations = [
        migrations.AlterField(
            model_name="cleanupexception",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("changed", "changed since the backup"),
                    ("vanished", "already gone"),
                    ("expired", "expired by itself"),
                    ("alive", "still there, to be sent again"),
                    ("failed", "still there after three tries"),
                    ("reappeared", "there again with another value"),
                    ("stopped", "left as it is: the run was ended early"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="restoreentry",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("planned", "not dealt with yet"),
                    ("sent", "sent, not compared yet"),
                    ("again", "not there after it was sent, to be sent again"),
                    ("written", "put back"),
                    ("equal", "was there already, equal"),
                    ("value", "there with another value, left as it is"),
                    ("metadata", "there with other metadata, left as it is"),
                    ("expiration", "there with another expiration, left as it is"),
                    ("sensitive", "there and different, left as it is: it cannot be copied first without encryption"),
                    ("changed", "changed since the comparison, left as it is"),
                    ("expired", "its time is over"),
                    ("soon", "less than a minute left, not put back: decide by hand"),
                    ("different", "different when it was compared after the writing"),
                    ("failed", "not there after three tries"),
                    ("stopped", "left as it is: the run was ended early"),
                ],
                default="planned",
                max_length=10,
            ),
        ),
    ]
