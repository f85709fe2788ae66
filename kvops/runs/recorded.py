"""The entries that runs and approvals must have in the audit log, for its verification."""

from audit.actions import Action
from audit.claims import RowClaim
from kvops.models import ApprovalRequest, Run


def _run(action: Action, *states: Run.State, moment: str = "") -> RowClaim:
    column = "state" if states else ""
    return RowClaim(table=Run._meta.db_table, kind="run", action=action, column=column, values=states, moment=moment)


def _approval(action: Action, *states: ApprovalRequest.State, moment: str = "") -> RowClaim:
    table, column = ApprovalRequest._meta.db_table, "state" if states else ""
    return RowClaim(table=table, kind="approval", action=action, column=column, values=states, moment=moment)


ROWS = (
    _run(Action.RUN_CREATED, moment="created_at"),
    _run(Action.RUN_FINISHED, Run.State.SUCCEEDED, moment="finished_at"),
    _run(Action.RUN_FAILED, Run.State.FAILED, moment="finished_at"),
    _run(Action.RUN_STOPPED, Run.State.STOPPED, moment="finished_at"),
    _approval(Action.APPROVAL_REQUESTED, moment="created_at"),
    _approval(Action.APPROVAL_APPROVED, ApprovalRequest.State.APPROVED, ApprovalRequest.State.USED),
    _approval(Action.APPROVAL_REJECTED, ApprovalRequest.State.REJECTED),
    _approval(Action.APPROVAL_WITHDRAWN, ApprovalRequest.State.WITHDRAWN),
    _approval(Action.APPROVAL_EXPIRED, ApprovalRequest.State.EXPIRED),
    _approval(Action.APPROVAL_USED, ApprovalRequest.State.USED, moment="used_at"),
)
