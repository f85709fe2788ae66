"""The mandate of a round: the standing approval of its rule instead of an approval of exactly its keys."""

from django.utils.translation import gettext_lazy as _, gettext_noop

from backups.cleanup.stages import CleanupRefused, insist_names
from backups.clearing import conditions, rules
from backups.clearing.rules import ClearingRefused
from backups.execution import revalidation
from backups.models import CleanupStage, Clearing
from kvops.approvals import standing
from kvops.models import ApprovalRequest
from kvops.references import look
from kvops.runs.lease import Lease
from kvops.runs.outcomes import RunError
from kvops.wording import say

NOT_CARRIED = gettext_noop("The run does not carry the standing approval of the rule.")


class StandingMandate:
    """The checks of a deletion under a standing approval (`backups.deletion.mandate.Mandate`)."""

    def __init__(self, clearing: Clearing) -> None:
        self.clearing = clearing

    def insist_target(self, stage: CleanupStage, lease: Lease) -> None:
        """Check that run, stage and approval belong to the rule, and that the target is the approved one."""
        approval, subject = stage.approval, self.clearing.subject
        shown = revalidation.approved(approval, lease, subject, NOT_CARRIED, started=False)
        ours = (rules.KIND, subject, stage.environment_id, CleanupStage.State.DELETING)
        if approval is None or (approval.kind, approval.subject, lease.run.environment_id, stage.state) != ours:
            raise RunError("not_approved", NOT_CARRIED)
        revalidation.insist_target(rules.target(self.clearing), shown)
        if stage.names > shown["cap"]:
            raise RunError("over_cap", over_cap(stage.names, shown["cap"]))

    def insist_as_approved(self, stage: CleanupStage, lease: Lease) -> None:
        """Check the list of keys, and every condition of the rule again."""
        try:
            insist_names(stage)
        except CleanupRefused as refused:
            raise RunError("wrong_set", refused) from refused
        lease.renew()
        look.ask_when_due(stage.environment, lease.keep)
        self._insist(stage)

    def insist_in_force(self, stage: CleanupStage) -> None:
        """Check every condition of the rule: they may change between two chunks."""
        self._insist(stage)

    def _insist(self, stage: CleanupStage) -> None:
        approval = stage.approval
        try:
            conditions.insist_rule(self.clearing)
            if approval is None:
                raise ClearingRefused(_("The rule is not approved. Ask for its approval."))
            conditions.insist_approved(self.clearing, approval)
        except ClearingRefused as refused:
            raise RunError("stale", refused) from refused

    def insist_rights(self, approval: ApprovalRequest) -> None:
        """Check that the approval is in force, both people's roles and the emergency stop."""
        standing.insist_standing(approval)

    def hold(self, approval: ApprovalRequest) -> None:
        """Check the same while a withdrawal of the approval waits."""
        ApprovalRequest.objects.select_for_update(of=("self",), no_key=True).get(pk=approval.pk)
        standing.insist_standing(approval)

    def is_careful(self, stage: CleanupStage) -> bool:
        """No person waits for a round. Its cap, the acceptance in QA and the conditions take their place."""
        return False


def over_cap(names: int, cap: int) -> str:
    """The sentence for a round that would clear more keys than its rule allows."""
    sentence = _("The rule takes at least %(n)s keys, more than its cap of %(cap)s. Nothing was deleted.")
    return say(sentence, n=f"{names:,}", cap=f"{cap:,}")
