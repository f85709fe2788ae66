"""What a reviewer accepted by name: nothing is approved while the evidence names a risk that nobody accepted."""

from django.db import migrations, models

GUARD = """
CREATE FUNCTION kvops_approval_guard_risks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state = 'pending' AND NEW.state = 'approved' THEN
    IF NEW.accepted IS DISTINCT FROM coalesce((NEW.evidence::json -> 'risks')::jsonb, '[]') THEN
      RAISE EXCEPTION 'every risk that the evidence names is accepted, and no other'
        USING ERRCODE = 'restrict_violation';
    END IF;
  ELSIF NEW.accepted IS DISTINCT FROM OLD.accepted THEN
    RAISE EXCEPTION 'what was accepted cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER approval_guard_risks BEFORE UPDATE ON kvops_approvalrequest
  FOR EACH ROW EXECUTE FUNCTION kvops_approval_guard_risks();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0305_family_qa_may_take"),
    ]

    operations = [
        migrations.AddField(
            model_name="approvalrequest",
            name="accepted",
            field=models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list),
        ),
        migrations.RunSQL(
            GUARD,
            "DROP TRIGGER approval_guard_risks ON kvops_approvalrequest; DROP FUNCTION kvops_approval_guard_risks;",
        ),
    ]
