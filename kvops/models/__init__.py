"""The tables of this app, one module per feature.

They lie on one floor below all features, because rows refer to each other in both directions. The docstring of a
model lists its states and the allowed moves.
"""

from kvops.models.approvals import ApprovalRequest, PreparedChange
from kvops.models.categories import Category, Family, PolicyVersion, Read
from kvops.models.connections import AnswerCount, Budget, BudgetSpend, DailyUse, RefusedToken, Skew
from kvops.models.emergency import EmergencyStop
from kvops.models.environments import Database, Environment, Namespace, Scratch
from kvops.models.inventory import Key, Scan, ScanCount, StagedKey, UnexpectedKey, UnexplainedDeletion
from kvops.models.notifications import Notification, NotificationEvent
from kvops.models.people import Person, ReviewerRecovery, Role, RoleGrant, User
from kvops.models.references import (
    PREVIEW,
    DeployedCode,
    DeployedLook,
    ReferenceAnswer,
    ReferenceHit,
    ReferenceSearch,
)
from kvops.models.rollback import DatabaseRollback
from kvops.models.runbook import RunbookNote, RunbookTodo, StatedOperation
from kvops.models.runs import Heartbeat, Run
from kvops.models.schedules import Firing, Schedule

__all__ = [
    "PREVIEW",
    "AnswerCount",
    "ApprovalRequest",
    "Budget",
    "BudgetSpend",
    "Category",
    "DailyUse",
    "Database",
    "DatabaseRollback",
    "DeployedCode",
    "DeployedLook",
    "EmergencyStop",
    "Environment",
    "Family",
    "Firing",
    "Heartbeat",
    "Key",
    "Namespace",
    "Notification",
    "NotificationEvent",
    "Person",
    "PolicyVersion",
    "PreparedChange",
    "Read",
    "ReferenceAnswer",
    "ReferenceHit",
    "ReferenceSearch",
    "RefusedToken",
    "ReviewerRecovery",
    "Role",
    "RoleGrant",
    "Run",
    "RunbookNote",
    "RunbookTodo",
    "Scan",
    "ScanCount",
    "Schedule",
    "Scratch",
    "Skew",
    "StagedKey",
    "StatedOperation",
    "UnexpectedKey",
    "UnexplainedDeletion",
    "User",
]
