"""A version of the policy is never edited, and its digest is that of its text."""

from django.db import migrations

POLICY_VERSIONS = """
ALTER TABLE kvops_policyversion
  ADD CONSTRAINT policy_digest_is_of_definition
    CHECK (digest = encode(sha256(convert_to(definition, 'UTF8')), 'hex'));

CREATE FUNCTION kvops_policy_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a version of the policy is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  RAISE EXCEPTION 'a version of the policy is never edited' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER policy_guard BEFORE UPDATE OR DELETE ON kvops_policyversion
  FOR EACH ROW EXECUTE FUNCTION kvops_policy_guard();
CREATE TRIGGER policy_guard_truncate BEFORE TRUNCATE ON kvops_policyversion
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_policy_guard();
"""
UNDO = """
DROP FUNCTION kvops_policy_guard() CASCADE;
ALTER TABLE kvops_policyversion DROP CONSTRAINT policy_digest_is_of_definition;
"""


class Migration(migrations.Migration):
    dependencies = [("kvops", "0003_alarms")]
    operations = [migrations.RunSQL(POLICY_VERSIONS, UNDO)]
