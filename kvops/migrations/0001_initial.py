import datetime
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.datetime
import django.db.models.functions.text
import kvops.models.categories
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Budget',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, unique=True)),
                ('blocked_until', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name='Firing',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('due_at', models.DateTimeField()),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('outcome', models.CharField(choices=[('started', 'started'), ('nothing', 'nothing to do'), ('refused', 'could not be started')], max_length=10)),
                ('reason', models.CharField(blank=True, max_length=1000)),
                ('missed', models.PositiveIntegerField(default=0)),
                ('missed_since', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name='Heartbeat',
            fields=[
                ('name', models.CharField(max_length=50, primary_key=True, serialize=False)),
                ('at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='PolicyVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(unique=True)),
                ('digest', models.CharField(max_length=64)),
                ('definition', models.TextField()),
                ('applied_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('applied_by', models.CharField(max_length=200)),
            ],
        ),
        migrations.CreateModel(
            name='DailyUse',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('account', models.CharField(max_length=64)),
                ('day', models.DateField()),
                ('reads', models.BigIntegerField(default=0)),
                ('writes', models.BigIntegerField(default=0)),
                ('deletes', models.BigIntegerField(default=0)),
                ('lists', models.BigIntegerField(default=0)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('account', 'day'), name='use_once_a_day')],
            },
        ),
        migrations.CreateModel(
            name='Environment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.SlugField(max_length=40, unique=True)),
                ('name', models.CharField(max_length=80)),
                ('order', models.PositiveSmallIntegerField(unique=True)),
                ('production', models.BooleanField(default=False)),
                ('plan', models.CharField(choices=[('paid', 'paid plan'), ('free', 'free plan')], default='paid', max_length=10)),
                ('account_id', models.CharField(max_length=64)),
                ('read_token', models.CharField(max_length=300)),
                ('write_token', models.CharField(max_length=300)),
                ('api_base_url', models.URLField(default='https://api.cloudflare.com/client/v4')),
                ('r2_endpoint', models.URLField()),
                ('r2_bucket', models.CharField(max_length=100)),
                ('r2_access_key_id', models.CharField(max_length=300)),
                ('r2_secret_access_key', models.CharField(max_length=300)),
                ('key_template', models.CharField(default='backups', max_length=200)),
                ('slack', models.CharField(blank=True, max_length=300)),
                ('language', models.CharField(choices=[('en', 'English'), ('ja', 'Japanese')], default='en', max_length=10)),
                ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('plan__in', ['paid', 'free'])), name='environment_plan_is_known'), models.CheckConstraint(condition=models.Q(('language__in', ['en', 'ja'])), name='environment_language_is_known'), models.CheckConstraint(condition=models.Q(('read_token', models.F('write_token')), _negated=True), name='environment_tokens_differ')],
            },
        ),
        migrations.CreateModel(
            name='ApprovalRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('delete_keys', 'delete keys'), ('environment', 'change environments'), ('policy', 'change the policy'), ('release_stop', 'release an emergency stop'), ('restore', 'restore keys'), ('delete_generations', 'prune backups'), ('drill', 'restore drills'), ('investigation', 'prune an investigation backup')], max_length=20)),
                ('subject', models.CharField(max_length=100)),
                ('title', models.CharField(max_length=300)),
                ('evidence', models.TextField()),
                ('digest', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('decide_by', models.DateTimeField()),
                ('standing_until', models.DateTimeField(blank=True, null=True)),
                ('state', models.CharField(choices=[('pending', 'waiting for a decision'), ('approved', 'approved'), ('rejected', 'rejected'), ('withdrawn', 'withdrawn'), ('expired', 'expired'), ('used', 'used')], default='pending', max_length=20)),
                ('decided_at', models.DateTimeField(blank=True, null=True)),
                ('reason', models.TextField(blank=True)),
                ('accepted', models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list)),
                ('use_by', models.DateTimeField(blank=True, null=True)),
                ('used_at', models.DateTimeField(blank=True, null=True)),
                ('environment', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to='kvops.environment')),
            ],
        ),
        migrations.CreateModel(
            name='Family',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('binding', models.CharField(max_length=100)),
                ('pattern', models.TextField(db_collation='C')),
                ('exact', models.BooleanField(default=False)),
                ('category', models.CharField(choices=[('settings', 'settings'), ('cache', 'cache'), ('legacy', 'legacy master'), ('unclassified', 'unclassified')], max_length=20)),
                ('owner', models.CharField(max_length=100)),
                ('expiry', models.CharField(max_length=100)),
                ('note', models.TextField(blank=True)),
                ('read', models.CharField(choices=[('bulk', 'in bulk'), ('exact', 'one by one')], default='bulk', max_length=10)),
                ('sample', models.BooleanField(default=False)),
                ('retain_days', models.PositiveSmallIntegerField(default=30)),
                ('notice_days', models.JSONField(default=kvops.models.categories.notice_days)),
                ('interval_hours', models.PositiveIntegerField(default=0)),
                ('grace_hours', models.PositiveIntegerField(default=0)),
                ('encrypt', models.BooleanField(default=False)),
                ('qa_may_take', models.BooleanField(default=False)),
            ],
            options={
                'verbose_name_plural': 'families',
                'constraints': [models.UniqueConstraint(fields=('binding', 'pattern', 'exact'), name='family_pattern_once'), models.CheckConstraint(condition=models.Q(('pattern', ''), _negated=True), name='family_pattern_not_empty'), models.CheckConstraint(condition=models.Q(('category', 'unclassified'), _negated=True), name='family_is_classified'), models.CheckConstraint(condition=models.Q(('retain_days__gte', 14)), name='family_kept_14_days'), models.CheckConstraint(condition=models.Q(models.Q(('category', 'cache'), _negated=True), ('retain_days__lte', 30), _connector='OR'), name='family_cache_kept_30_days'), models.CheckConstraint(condition=models.Q(('category', 'settings'), ('qa_may_take', True), _negated=True), name='family_settings_stay_in_production'), models.CheckConstraint(condition=models.Q(('grace_hours', 0), ('interval_hours__gt', 0), _connector='OR'), name='family_grace_of_an_interval')],
            },
        ),
        migrations.CreateModel(
            name='Namespace',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('binding', models.CharField(max_length=100)),
                ('namespace_id', models.CharField(max_length=64, unique=True)),
                ('title', models.CharField(max_length=512)),
                ('unpaired', models.CharField(blank=True, max_length=300)),
                ('environment', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='namespaces', to='kvops.environment')),
            ],
        ),
        migrations.CreateModel(
            name='Person',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200)),
                ('email', models.EmailField(max_length=254, unique=True)),
                ('language', models.CharField(blank=True, max_length=10)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('email', django.db.models.functions.text.Lower('email'))), name='person_email_is_case_folded'), models.CheckConstraint(condition=models.Q(('language__in', ['', 'en', 'ja'])), name='person_language_is_known')],
            },
        ),
        migrations.CreateModel(
            name='Notification',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('event', models.CharField(max_length=40)),
                ('subject', models.CharField(max_length=100)),
                ('occasion', models.CharField(blank=True, max_length=100)),
                ('language', models.CharField(max_length=10)),
                ('title', models.CharField(max_length=300)),
                ('lines', models.JSONField(default=list)),
                ('link', models.CharField(blank=True, max_length=500)),
                ('state', models.CharField(choices=[('waiting', 'to be sent'), ('sending', 'being sent'), ('delivered', 'delivered'), ('failed', 'not delivered'), ('dropped', 'given up')], default='waiting', max_length=10)),
                ('tries', models.PositiveIntegerField(default=0)),
                ('unclear', models.PositiveIntegerField(default=0)),
                ('next_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('claimed_at', models.DateTimeField(blank=True, null=True)),
                ('delivered_at', models.DateTimeField(blank=True, null=True)),
                ('error', models.CharField(blank=True, max_length=300)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('environment', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to='kvops.environment')),
                ('person', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='notifications', to='kvops.person')),
            ],
        ),
        migrations.CreateModel(
            name='EmergencyStop',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('released_at', models.DateTimeField(blank=True, null=True)),
                ('approval', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to='kvops.approvalrequest')),
                ('environment', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='stops', to='kvops.environment')),
                ('by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='stops', to='kvops.person')),
            ],
        ),
        migrations.AddField(
            model_name='approvalrequest',
            name='approver',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='decisions', to='kvops.person'),
        ),
        migrations.AddField(
            model_name='approvalrequest',
            name='requester',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='requests', to='kvops.person'),
        ),
        migrations.AddField(
            model_name='approvalrequest',
            name='starter',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='starts', to='kvops.person'),
        ),
        migrations.CreateModel(
            name='User',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('password', models.CharField(max_length=128, verbose_name='password')),
                ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                ('email', models.EmailField(max_length=254, unique=True)),
                ('is_active', models.BooleanField(default=True)),
                ('date_joined', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('person', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='logins', to='kvops.person')),
            ],
        ),
        migrations.CreateModel(
            name='PreparedChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('delete_keys', 'delete keys'), ('environment', 'change environments'), ('policy', 'change the policy'), ('release_stop', 'release an emergency stop'), ('restore', 'restore keys'), ('delete_generations', 'prune backups'), ('drill', 'restore drills'), ('investigation', 'prune an investigation backup')], max_length=20)),
                ('definition', models.TextField()),
                ('summary', models.TextField()),
                ('prepared_by', models.CharField(max_length=200)),
                ('prepared_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('applied_at', models.DateTimeField(blank=True, null=True)),
                ('discarded_at', models.DateTimeField(blank=True, null=True)),
                ('approval', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to='kvops.approvalrequest')),
            ],
        ),
        migrations.CreateModel(
            name='ReferenceStatement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('binding', models.CharField(max_length=100)),
                ('prefix', models.TextField(db_collation='C')),
                ('commit', models.CharField(max_length=100)),
                ('command', models.TextField()),
                ('hits', models.PositiveIntegerField()),
                ('answer', models.TextField()),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='kvops.person')),
            ],
        ),
        migrations.CreateModel(
            name='RoleGrant',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('operator', 'operator'), ('reviewer', 'reviewer'), ('auditor', 'auditor')], max_length=20)),
                ('granted_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('granted_by', models.CharField(max_length=200)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_by', models.CharField(blank=True, max_length=200)),
                ('person', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='grants', to='kvops.person')),
            ],
        ),
        migrations.CreateModel(
            name='Run',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('scan', 'scan'), ('backup', 'backup'), ('masters', 'backup of master data'), ('verify', 'verification'), ('check', 'integrity check'), ('delete', 'deletion'), ('confirm', 'proof of absence'), ('reconcile', 'listing of the bucket'), ('late_check', 'late check'), ('preview', 'preview of a restore'), ('restore', 'restore'), ('undo', 'undoing of a deletion'), ('prune', 'prune run'), ('comparison', 'comparison of a backup'), ('drill', 'restore drill'), ('prune_investigation', 'prune of an investigation backup')], max_length=20)),
                ('subject', models.CharField(max_length=100)),
                ('label', models.CharField(max_length=300)),
                ('approval_digest', models.CharField(blank=True, max_length=64)),
                ('actor', models.CharField(max_length=200)),
                ('foreground', models.BooleanField(default=False)),
                ('state', models.CharField(choices=[('queued', 'queued'), ('running', 'running'), ('succeeded', 'succeeded'), ('failed', 'failed'), ('stopped', 'stopped')], default='queued', max_length=20)),
                ('owner', models.CharField(blank=True, max_length=100)),
                ('epoch', models.PositiveIntegerField(default=0)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('wake_at', models.DateTimeField(blank=True, null=True)),
                ('task_sent_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('starts', models.PositiveIntegerField(default=0)),
                ('tries', models.PositiveIntegerField(default=0)),
                ('stop_requested_by', models.CharField(blank=True, max_length=200)),
                ('done', models.BigIntegerField(default=0)),
                ('total', models.BigIntegerField(blank=True, null=True)),
                ('calls', models.BigIntegerField(default=0)),
                ('note', models.CharField(blank=True, max_length=300)),
                ('cursor', models.JSONField(blank=True, default=dict)),
                ('result', models.JSONField(blank=True, default=dict)),
                ('error_code', models.CharField(blank=True, max_length=50)),
                ('error', models.CharField(blank=True, max_length=1000)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('approval', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to='kvops.approvalrequest')),
                ('environment', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to='kvops.environment')),
                ('firing', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='kvops.firing')),
                ('started_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to='kvops.person')),
            ],
        ),
        migrations.CreateModel(
            name='Scan',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('prefix', models.TextField(blank=True, db_collation='C')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('completed_at', models.DateTimeField(blank=True, null=True)),
                ('keys', models.BigIntegerField(default=0)),
                ('added', models.BigIntegerField(default=0)),
                ('changed', models.BigIntegerField(default=0)),
                ('gone', models.BigIntegerField(default=0)),
                ('unstorable', models.BigIntegerField(default=0)),
                ('calls', models.BigIntegerField(default=0)),
                ('unexplained', models.BigIntegerField(default=0)),
                ('acknowledged_at', models.DateTimeField(blank=True, null=True)),
                ('acknowledged_note', models.TextField(blank=True)),
                ('acknowledged_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kvops.person')),
                ('namespace', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='scans', to='kvops.namespace')),
                ('run', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='scan', to='kvops.run')),
            ],
        ),
        migrations.CreateModel(
            name='Key',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.TextField(db_collation='C')),
                ('expiration', models.BigIntegerField(blank=True, null=True)),
                ('metadata', models.TextField(blank=True, null=True)),
                ('category', models.CharField(choices=[('settings', 'settings'), ('cache', 'cache'), ('legacy', 'legacy master'), ('unclassified', 'unclassified')], default='unclassified', max_length=20)),
                ('family', models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, to='kvops.family')),
                ('namespace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='kvops.namespace')),
                ('first_seen', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, to='kvops.scan')),
            ],
        ),
        migrations.CreateModel(
            name='ScanCount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('category', models.CharField(choices=[('settings', 'settings'), ('cache', 'cache'), ('legacy', 'legacy master'), ('unclassified', 'unclassified')], max_length=20)),
                ('pattern', models.TextField(blank=True)),
                ('keys', models.BigIntegerField()),
                ('family', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to='kvops.family')),
                ('scan', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='counts', to='kvops.scan')),
            ],
        ),
        migrations.CreateModel(
            name='Schedule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('job', models.CharField(max_length=40)),
                ('expression', models.CharField(max_length=100)),
                ('zone', models.CharField(max_length=64)),
                ('next_at', models.DateTimeField()),
                ('paused_at', models.DateTimeField(blank=True, null=True)),
                ('paused_reason', models.CharField(blank=True, max_length=500)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('environment', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to='kvops.environment')),
                ('paused_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kvops.person')),
            ],
        ),
        migrations.AddField(
            model_name='firing',
            name='schedule',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='firings', to='kvops.schedule'),
        ),
        migrations.CreateModel(
            name='Scratch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('binding', models.CharField(max_length=100)),
                ('namespace_id', models.CharField(max_length=64, unique=True)),
                ('title', models.CharField(max_length=512)),
                ('environment', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='scratch', to='kvops.environment')),
            ],
            options={
                'verbose_name_plural': 'scratches',
            },
        ),
        migrations.CreateModel(
            name='Skew',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('service', models.CharField(choices=[('cloudflare', 'Cloudflare'), ('r2', 'R2')], max_length=20)),
                ('seconds', models.FloatField()),
                ('measured_at', models.DateTimeField()),
                ('environment', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='skews', to='kvops.environment')),
            ],
        ),
        migrations.CreateModel(
            name='StagedKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.TextField(db_collation='C')),
                ('expiration', models.BigIntegerField(blank=True, null=True)),
                ('metadata', models.TextField(blank=True, null=True)),
                ('scan', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, to='kvops.scan')),
            ],
        ),
        migrations.CreateModel(
            name='UnexplainedDeletion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.TextField(db_collation='C')),
                ('expiration', models.BigIntegerField(blank=True, null=True)),
                ('category', models.CharField(choices=[('settings', 'settings'), ('cache', 'cache'), ('legacy', 'legacy master'), ('unclassified', 'unclassified')], max_length=20)),
                ('scan', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='unexplained_deletions', to='kvops.scan')),
            ],
        ),
        migrations.CreateModel(
            name='BudgetSpend',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('second', models.BigIntegerField()),
                ('calls', models.PositiveIntegerField()),
                ('budget', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='spends', to='kvops.budget')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('budget', 'second'), name='budget_second_once')],
            },
        ),
        migrations.CreateModel(
            name='DatabaseRollback',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('manifest_key', models.CharField(max_length=1024)),
                ('modified_at', models.DateTimeField()),
                ('sequence', models.BigIntegerField()),
                ('hash', models.CharField(max_length=64)),
                ('our_sequence', models.BigIntegerField()),
                ('our_hash', models.CharField(blank=True, max_length=64)),
                ('found_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('accepted_at', models.DateTimeField(blank=True, null=True)),
                ('accepted_by', models.CharField(blank=True, max_length=200)),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('environment', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='rollbacks', to='kvops.environment')),
            ],
            options={
                'constraints': [models.UniqueConstraint(condition=models.Q(('accepted_at__isnull', True)), fields=('environment',), name='rollback_one_per_environment'), models.CheckConstraint(condition=models.Q(('hash', models.F('our_hash')), _negated=True), name='rollback_is_one'), models.CheckConstraint(condition=models.Q(models.Q(('accepted_at__isnull', True), ('accepted_by', ''), ('reason', '')), models.Q(('accepted_at__isnull', False), models.Q(('accepted_by', ''), _negated=True), models.Q(('reason', ''), _negated=True)), _connector='OR'), name='rollback_accepted_by_someone_who_says_why')],
            },
        ),
        migrations.CreateModel(
            name='Database',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('binding', models.CharField(max_length=100)),
                ('database_id', models.CharField(max_length=64)),
                ('environment', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='databases', to='kvops.environment')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('environment', 'binding'), name='database_once_per_environment')],
            },
        ),
        migrations.AddConstraint(
            model_name='namespace',
            constraint=models.UniqueConstraint(fields=('environment', 'binding'), name='binding_once_per_environment'),
        ),
        migrations.AddIndex(
            model_name='notification',
            index=models.Index(condition=models.Q(('state__in', ['waiting', 'sending'])), fields=['next_at'], name='notification_to_send'),
        ),
        migrations.AddIndex(
            model_name='notification',
            index=models.Index(condition=models.Q(('state', 'failed')), fields=['-id'], name='notification_failed'),
        ),
        migrations.AddIndex(
            model_name='notification',
            index=models.Index(fields=['subject', 'event'], name='notification_by_subject'),
        ),
        migrations.AddConstraint(
            model_name='notification',
            constraint=models.UniqueConstraint(condition=models.Q(('person__isnull', False)), fields=('event', 'subject', 'occasion', 'person'), name='notification_once_per_person'),
        ),
        migrations.AddConstraint(
            model_name='notification',
            constraint=models.UniqueConstraint(condition=models.Q(('person__isnull', True)), fields=('event', 'subject', 'occasion', 'environment'), name='notification_once_per_channel'),
        ),
        migrations.AddConstraint(
            model_name='notification',
            constraint=models.CheckConstraint(condition=models.Q(('person__isnull', False), ('environment__isnull', False), _connector='OR'), name='notification_has_a_recipient'),
        ),
        migrations.AddConstraint(
            model_name='notification',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['waiting', 'sending', 'delivered', 'failed', 'dropped'])), name='notification_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='notification',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('delivered_at__isnull', False), ('state', 'delivered')), models.Q(models.Q(('state', 'delivered'), _negated=True), ('delivered_at__isnull', True)), _connector='OR'), name='notification_delivered_has_a_time'),
        ),
        migrations.AddConstraint(
            model_name='notification',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'sending'), _negated=True), ('claimed_at__isnull', False), _connector='OR'), name='notification_sending_was_claimed'),
        ),
        migrations.AddConstraint(
            model_name='notification',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'failed'), _negated=True), models.Q(('error', ''), _negated=True), _connector='OR'), name='notification_failed_says_why'),
        ),
        migrations.AddConstraint(
            model_name='emergencystop',
            constraint=models.UniqueConstraint(condition=models.Q(('released_at__isnull', True)), fields=('environment',), name='stop_one_per_environment'),
        ),
        migrations.AddConstraint(
            model_name='emergencystop',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('approval__isnull', True), ('released_at__isnull', True)), models.Q(('approval__isnull', False), ('released_at__isnull', False)), _connector='OR'), name='stop_released_by_an_approval'),
        ),
        migrations.AddConstraint(
            model_name='emergencystop',
            constraint=models.CheckConstraint(condition=models.Q(('released_at__isnull', True), ('released_at__gte', models.F('at')), _connector='OR'), name='stop_released_after_it_began'),
        ),
        migrations.AddConstraint(
            model_name='approvalrequest',
            constraint=models.CheckConstraint(condition=models.Q(('approver__isnull', True), models.Q(('approver', models.F('requester')), _negated=True), _connector='OR'), name='approval_by_another_person'),
        ),
        migrations.AddConstraint(
            model_name='approvalrequest',
            constraint=models.CheckConstraint(condition=models.Q(('starter__isnull', True), ('approver__isnull', True), models.Q(('starter', models.F('approver')), _negated=True), _connector='OR'), name='approval_not_started_by_approver'),
        ),
        migrations.AddConstraint(
            model_name='approvalrequest',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state__in', ['approved', 'rejected', 'used']), _negated=True), models.Q(('approver__isnull', False), ('decided_at__isnull', False)), _connector='OR'), name='approval_decided_has_person_and_time'),
        ),
        migrations.AddConstraint(
            model_name='approvalrequest',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('approver__isnull', True), ('decided_at__isnull', True)), models.Q(('approver__isnull', False), ('decided_at__isnull', False)), _connector='OR'), name='approval_approver_has_time'),
        ),
        migrations.AddConstraint(
            model_name='approvalrequest',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state__in', ['approved', 'used']), _negated=True), ('use_by__isnull', False), _connector='OR'), name='approval_has_time_to_use'),
        ),
        migrations.AddConstraint(
            model_name='approvalrequest',
            constraint=models.CheckConstraint(condition=models.Q(('decided_at__isnull', True), ('decided_at__lte', models.F('decide_by')), _connector='OR'), name='approval_decided_in_time'),
        ),
        migrations.AddConstraint(
            model_name='approvalrequest',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('starter__isnull', False), ('state', 'used'), ('used_at__isnull', False)), models.Q(models.Q(('state', 'used'), _negated=True), ('starter__isnull', True), ('used_at__isnull', True)), _connector='OR'), name='approval_used_has_person_and_time'),
        ),
        migrations.AddConstraint(
            model_name='approvalrequest',
            constraint=models.CheckConstraint(condition=models.Q(('used_at__isnull', True), ('used_at__lte', models.F('use_by')), _connector='OR'), name='approval_used_in_time'),
        ),
        migrations.AddConstraint(
            model_name='approvalrequest',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'pending')), fields=('kind', 'subject'), name='approval_one_pending_per_subject'),
        ),
        migrations.AddConstraint(
            model_name='approvalrequest',
            constraint=models.UniqueConstraint(fields=('id', 'digest'), name='approval_and_digest'),
        ),
        migrations.AddConstraint(
            model_name='approvalrequest',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('standing_until__isnull', True), models.Q(('kind__in', ['drill', 'investigation']), _negated=True)), models.Q(('kind__in', ['drill', 'investigation']), ('standing_until__isnull', False), ('standing_until__lte', django.db.models.expressions.CombinedExpression(models.F('created_at'), '+', models.Value(datetime.timedelta(days=90))))), _connector='OR'), name='approval_stands_for_90_days'),
        ),
        migrations.AddConstraint(
            model_name='approvalrequest',
            constraint=models.CheckConstraint(condition=models.Q(('standing_until__isnull', True), models.Q(models.Q(('state', 'used'), _negated=True), models.Q(('use_by__isnull', True), ('use_by', models.F('standing_until')), _connector='OR')), _connector='OR'), name='approval_standing_is_not_used_up'),
        ),
        migrations.AddConstraint(
            model_name='user',
            constraint=models.CheckConstraint(condition=models.Q(('email', django.db.models.functions.text.Lower('email'))), name='user_email_is_case_folded'),
        ),
        migrations.AddConstraint(
            model_name='preparedchange',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['environment', 'policy'])), name='change_of_environments_or_policy'),
        ),
        migrations.AddConstraint(
            model_name='preparedchange',
            constraint=models.UniqueConstraint(condition=models.Q(('applied_at__isnull', True), ('discarded_at__isnull', True)), fields=('kind',), name='change_one_open_per_kind'),
        ),
        migrations.AddConstraint(
            model_name='referencestatement',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('commit', ''), _negated=True), models.Q(('command', ''), _negated=True)), name='references_name_a_commit'),
        ),
        migrations.AddConstraint(
            model_name='referencestatement',
            constraint=models.CheckConstraint(condition=models.Q(('answer', ''), _negated=True), name='references_are_answered'),
        ),
        migrations.AddConstraint(
            model_name='rolegrant',
            constraint=models.UniqueConstraint(condition=models.Q(('revoked_at__isnull', True)), fields=('person', 'role'), name='role_held_once'),
        ),
        migrations.AddConstraint(
            model_name='rolegrant',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('revoked_at__isnull', True), ('revoked_by', '')), models.Q(('revoked_by', ''), _negated=True), _connector='OR'), name='role_revoked_by_someone'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('state__in', ['queued', 'running'])), fields=['wake_at'], name='run_to_wake'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(fields=['subject', '-id'], name='run_by_subject'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('lease_until__isnull', True), ('owner', '')), models.Q(models.Q(('owner', ''), _negated=True), ('lease_until__isnull', False)), _connector='OR'), name='run_owner_has_a_lease'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(('owner', ''), ('state', 'running'), _connector='OR'), name='run_lease_only_while_running'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', True), ('state__in', ['queued', 'running'])), models.Q(('finished_at__isnull', False), ('state__in', ['succeeded', 'failed', 'stopped'])), _connector='OR'), name='run_over_has_an_end'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'failed'), _negated=True), models.Q(('error_code', ''), ('error', ''), _connector='OR', _negated=True), _connector='OR'), name='run_failed_says_why'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind__in', ['delete', 'restore', 'undo', 'prune', 'drill', 'prune_investigation']), _negated=True), models.Q(('approval__isnull', False), models.Q(('approval_digest', ''), _negated=True)), _connector='OR'), name='run_destructive_is_approved'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind__in', ['delete', 'restore', 'undo', 'prune', 'drill', 'prune_investigation']), _negated=True), ('foreground', False), _connector='OR'), name='run_destructive_in_a_worker'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ['queued', 'running'])), fields=('kind', 'subject'), name='run_one_open_per_subject'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.UniqueConstraint(condition=models.Q(('kind__in', ['drill', 'prune_investigation']), _negated=True), fields=('approval', 'kind'), name='run_one_per_approval_and_kind'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(('total__isnull', True), ('done__lte', models.F('total')), _connector='OR'), name='run_progress_within_total'),
        ),
        migrations.AddIndex(
            model_name='scan',
            index=models.Index(fields=['namespace', '-completed_at'], name='scan_newest'),
        ),
        migrations.AddIndex(
            model_name='scan',
            index=models.Index(condition=models.Q(('unexplained__gt', 0)), fields=['-id'], name='scan_unexplained'),
        ),
        migrations.AddConstraint(
            model_name='scan',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('acknowledged_at__isnull', True), ('acknowledged_by__isnull', True), ('acknowledged_note', '')), models.Q(models.Q(('acknowledged_note', ''), _negated=True), ('acknowledged_at__isnull', False), ('acknowledged_by__isnull', False)), _connector='OR'), name='scan_acknowledged_with_a_note'),
        ),
        migrations.AddIndex(
            model_name='key',
            index=models.Index(fields=['namespace', 'category', 'name'], name='key_by_category'),
        ),
        migrations.AddIndex(
            model_name='key',
            index=models.Index(fields=['namespace', 'family', 'name'], name='key_by_family'),
        ),
        migrations.AddIndex(
            model_name='key',
            index=models.Index(condition=models.Q(('expiration__isnull', False)), fields=['namespace', 'name'], name='key_expiring'),
        ),
        migrations.AddConstraint(
            model_name='key',
            constraint=models.UniqueConstraint(fields=('namespace', 'name'), name='key_once_per_namespace'),
        ),
        migrations.AddConstraint(
            model_name='scancount',
            constraint=models.UniqueConstraint(fields=('scan', 'category', 'pattern'), name='scan_counts_a_family_once'),
        ),
        migrations.AddConstraint(
            model_name='schedule',
            constraint=models.UniqueConstraint(fields=('job', 'environment'), name='schedule_once_per_environment', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='schedule',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('paused_at__isnull', True), ('paused_by__isnull', True), ('paused_reason', '')), models.Q(('paused_at__isnull', False), ('paused_by__isnull', False), models.Q(('paused_reason', ''), _negated=True)), _connector='OR'), name='schedule_paused_by_someone_who_says_why'),
        ),
        migrations.AddConstraint(
            model_name='firing',
            constraint=models.UniqueConstraint(fields=('schedule', 'due_at'), name='firing_once_per_due_time'),
        ),
        migrations.AddConstraint(
            model_name='firing',
            constraint=models.CheckConstraint(condition=models.Q(('outcome__in', ['started', 'nothing', 'refused'])), name='firing_outcome_is_known'),
        ),
        migrations.AddConstraint(
            model_name='firing',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('outcome', 'refused'), _negated=True), models.Q(('reason', ''), _negated=True), _connector='OR'), name='firing_refused_says_why'),
        ),
        migrations.AddConstraint(
            model_name='firing',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('missed', 0), ('missed_since__isnull', True)), models.Q(('missed__gt', 0), ('missed_since__isnull', False), ('missed_since__lt', models.F('due_at'))), _connector='OR'), name='firing_missed_since_a_time'),
        ),
        migrations.AddConstraint(
            model_name='skew',
            constraint=models.UniqueConstraint(fields=('environment', 'service'), name='skew_once_per_service'),
        ),
        migrations.AddConstraint(
            model_name='stagedkey',
            constraint=models.CheckConstraint(condition=models.Q(('name', ''), _negated=True), name='staged_name_not_empty'),
        ),
        migrations.AddConstraint(
            model_name='unexplaineddeletion',
            constraint=models.UniqueConstraint(fields=('scan', 'name'), name='unexplained_once_per_scan'),
        ),
    ]
