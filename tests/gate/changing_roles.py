"""Requests about roles as the tests make them."""

from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Person, Role
from kvops.roles import requests
from kvops.roles.requests import RoleChange


def ask(action: str, person: Person, *roles: Role, by: Person) -> ApprovalRequest:
    """A request about somebody who is known."""
    return requests.ask(RoleChange.of(action, person, *roles), by=by, reason="a new colleague")


def invite(*roles: Role, by: Person, email: str = "mika@example.com") -> ApprovalRequest:
    """A request to invite Mika."""
    return requests.ask(RoleChange.invitation(email, "Mika", *roles), by=by, reason="a new colleague")


def approve(request: ApprovalRequest, *, by: Person) -> ApprovalRequest:
    """The request is approved, and not in force yet."""
    approval_gate.approve(request, by=by, shown=request.digest)
    return request


def take_effect(request: ApprovalRequest, *, by: Person) -> ApprovalRequest:
    """The request is approved and in force."""
    requests.use(approve(request, by=by), by=request.requester)
    request.refresh_from_db()
    return request
