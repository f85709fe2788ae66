from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True
    stamp = "449694a2ef42"

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Entry',
            fields=[
                ('seq', models.BigIntegerField(primary_key=True, serialize=False, verbose_name='number')),
                ('at', models.DateTimeField(verbose_name='time')),
                ('action', models.CharField(max_length=64, verbose_name='action')),
                ('actor_id', models.BigIntegerField(null=True)),
                ('actor', models.CharField(max_length=500, verbose_name='actor')),
                ('environment', models.CharField(blank=True, max_length=100, verbose_name='environment')),
                ('subject', models.CharField(blank=True, max_length=600, verbose_name='subject')),
                ('subject_label', models.CharField(blank=True, max_length=1000)),
                ('digest', models.CharField(blank=True, max_length=200, verbose_name='digest')),
                ('details', models.JSONField(default=dict, verbose_name='details')),
                ('canonical', models.BinaryField()),
                ('prev_hash', models.BinaryField()),
                ('row_hash', models.BinaryField()),
            ],
            options={
                'verbose_name': 'entry',
                'verbose_name_plural': 'entries',
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['at', 'seq'], name='audit_entry_at'), models.Index(fields=['action', 'seq'], name='audit_entry_action'), models.Index(fields=['actor', 'seq'], name='audit_entry_actor'), models.Index(fields=['environment', 'seq'], name='audit_entry_environment'), models.Index(fields=['subject', 'seq'], name='audit_entry_subject')],
            },
        ),
        migrations.CreateModel(
            name='Head',
            fields=[
                ('id', models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('seq', models.BigIntegerField()),
                ('hash', models.BinaryField()),
                ('at', models.DateTimeField()),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='audit_head_is_one_row')],
            },
        ),
    ]
