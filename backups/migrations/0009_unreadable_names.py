"""A restore says of a name that it cannot be read."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0008_after_cleanup"),
    ]

    operations = [
        migrations.AlterField(
            model_name="restoreentry",
            name="found",
            field=models.CharField(
                blank=True,
                choices=[
                    ("absent", "not in KV"),
                    ("equal", "in KV and equal"),
                    ("value", "in KV with another value"),
                    ("metadata", "in KV with other metadata"),
                    ("expiration", "in KV with another expiration"),
                    ("sensitive", "in KV and different, cannot be backed up first without encryption"),
                    ("expired", "past its expiration"),
                    ("soon", "less than a minute left: KV takes no such key"),
                    ("unreadable", "cannot be read: Cloudflare refuses its name"),
                ],
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="restoreentry",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("planned", "not dealt with yet"),
                    ("sent", "sent, not compared yet"),
                    ("again", "not in KV after sending, to be sent again"),
                    ("written", "restored"),
                    ("equal", "already in KV, equal"),
                    ("value", "in KV with another value, left as it is"),
                    ("metadata", "in KV with other metadata, left as it is"),
                    ("expiration", "in KV with another expiration, left as it is"),
                    ("sensitive", "in KV and different, left as it is: cannot be backed up first without encryption"),
                    ("changed", "changed since the comparison, left as it is"),
                    ("expired", "past its expiration"),
                    ("soon", "less than a minute left, not restored: decide by hand"),
                    ("different", "different in the comparison after the write"),
                    ("failed", "not in KV after three attempts"),
                    ("stopped", "left as it is: the run was ended early"),
                    ("unreadable", "cannot be read: Cloudflare refuses its name"),
                ],
                default="planned",
                max_length=10,
            ),
        ),
    ]
