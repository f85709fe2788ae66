"""What a refused reveal says, and a request whose evidence names no keys."""

import pytest

from audit import log
from kvops.approvals import gate as approval_gate
from kvops.inventory import reveal, value as key_value
from kvops.inventory.reveal import RevealRefused
from kvops.models import ApprovalRequest
from tests.gate.world import GateWorld

pytestmark = pytest.mark.django_db
REFUSED = {
    ("operator", "system-root", " "): "Give the reason for revealing the value. It is kept in the audit log.",
    ("operator", "master:1", "no longer needed"): "This value is not masked: show it without a reason.",
    ("auditor", "system-root", "no longer needed"): (
        "Only an operator, or the reviewer of a pending request about this key, can reveal its value."
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_said_in_full(world: GateWorld, case: tuple[str, str, str]) -> None:
    who, name, reason = case
    with pytest.raises(RevealRefused) as refused:
        reveal.reveal(world.qa, name, reason=reason, by=getattr(world.people, who))
    assert str(refused.value) == REFUSED[case]


def test_nothing_is_revealed_under_a_policy_edited_by_hand(world: GateWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_value, "why_policy_edited", lambda: "The policy was edited.")
    with pytest.raises(RevealRefused, match=r"^The policy was edited\.$"):
        reveal.reveal(world.qa, "system-root", reason="no longer needed", by=world.people.operator)


def test_a_request_that_names_no_keys_reveals_nothing(world: GateWorld) -> None:
    with log.transaction():
        approval_gate.submit(
            ApprovalRequest.Kind.FAMILY, subject="family:1", title="x", requester=world.people.operator,
            evidence={"namespace_id": world.qa.namespace_id}, environment=world.qa.environment,
        )  # fmt: skip
    assert reveal.request_about(world.qa, "system-root", by=world.people.reviewer) is None
