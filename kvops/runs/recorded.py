"""The entries that runs, approvals and roles must have in the audit log, for its verification."""

from audit.actions import Action
from audit.claims import RowClaim
from kvops.models import ApprovalRequest, RoleGrant, Run

_BY = {
    Action.APPROVAL_REQUESTED: "requester_id",
    Action.APPROVAL_APPROVED: "approver_id",
    Action.APPROVAL_USED: "starter_id",
}
"""The column with the person who took the step: its entry names the same one, and the same evidence."""


def _run(action: Action, *states: Run.State, moment: str = "") -> RowClaim:
    column = "state" if states else ""
    return RowClaim(table=Run._meta.db_table, kind="run", action=action, column=column, values=states, moment=moment)


def _approval(action: Action, *states: ApprovalRequest.State, moment: str = "") -> RowClaim:
    table, column = ApprovalRequest._meta.db_table, "state" if states else ""
    same = (("actor_id", _BY[action]), ("digest", "digest")) if action in _BY else ()
    return RowClaim(table=table, kind="approval", action=action, column=column, values=states, moment=moment, same=same)


def _grant(given: str, *told: tuple[str, str]) -> RowClaim:
    table, action = RoleGrant._meta.db_table, Action.PERSON_ROLE_GRANTED
    return RowClaim(table=table, kind="person", about="person_id", action=action, given=given, told=told)


APPROVALS = (
    _approval(Action.APPROVAL_REQUESTED, moment="created_at"),
    _approval(Action.APPROVAL_APPROVED, ApprovalRequest.State.APPROVED, ApprovalRequest.State.USED),
    _approval(Action.APPROVAL_REJECTED, ApprovalRequest.State.REJECTED),
    _approval(Action.APPROVAL_WITHDRAWN, ApprovalRequest.State.WITHDRAWN),
    _approval(Action.APPROVAL_EXPIRED, ApprovalRequest.State.EXPIRED),
    _approval(Action.APPROVAL_USED, ApprovalRequest.State.USED, moment="used_at"),
)
GRANTS = (
    _grant("approval_id", ("role", "role"), ("approval", "approval_id")),
    _grant("recovery_id", ("role", "role")),
)
"""The first set-up's roles have neither: a trigger refuses such a row later."""

ROWS = (
    _run(Action.RUN_CREATED, moment="created_at"),
    _run(Action.RUN_FINISHED, Run.State.SUCCEEDED, moment="finished_at"),
    _run(Action.RUN_FAILED, Run.State.FAILED, moment="finished_at"),
    _run(Action.RUN_STOPPED, Run.State.STOPPED, moment="finished_at"),
    *APPROVALS,
    *GRANTS,
)
