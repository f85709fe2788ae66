"""A role is granted and revoked only by a decision or a recovery that the audit log knows."""

from django.db import migrations

RECORDED = """
CREATE FUNCTION kvops_decision_recorded(request bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM kvops_approvalrequest a
    WHERE a.id = request
      AND EXISTS (SELECT FROM audit_entry e WHERE e.subject = 'approval:' || a.id AND e.action = 'approval.requested'
        AND e.actor_id = a.requester_id AND e.digest = a.digest)
      AND EXISTS (SELECT FROM audit_entry e WHERE e.subject = 'approval:' || a.id AND e.action = 'approval.approved'
        AND e.actor_id = a.approver_id AND e.digest = a.digest))
$$;

CREATE FUNCTION kvops_grant_recorded() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  request bigint := CASE TG_OP WHEN 'INSERT' THEN NEW.approval_id ELSE NEW.revocation_id END;
BEGIN
  IF request IS NOT NULL AND NOT kvops_decision_recorded(request) THEN
    RAISE EXCEPTION 'the audit log knows the decision behind a role' USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'INSERT' AND NEW.recovery_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM audit_entry e WHERE e.subject = 'recovery:' || NEW.recovery_id AND e.action = 'recovery.asked') THEN
    RAISE EXCEPTION 'the audit log knows the recovery behind a role' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER grant_recorded BEFORE INSERT OR UPDATE ON kvops_rolegrant
  FOR EACH ROW EXECUTE FUNCTION kvops_grant_recorded();
"""
NOT_RECORDED = """
DROP TRIGGER grant_recorded ON kvops_rolegrant;
DROP FUNCTION kvops_grant_recorded();
DROP FUNCTION kvops_decision_recorded(bigint);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0007_heartbeat_worker"),
        ("audit", "0002_triggers"),
    ]

    operations = [migrations.RunSQL(RECORDED, NOT_RECORDED)]
