"""The lines of the evidence on the page of an approval: in order, to look at, or no question."""

from typing import Any

import pytest

from kvops.approvals.evidence import canonical_evidence, digest_of
from kvops.approvals.lines import EvidenceLine
from kvops.models import ApprovalRequest
from kvops.templatetags import evidence as lines
from tests.kvops.approvals.evidence import EVIDENCE

pytestmark = pytest.mark.django_db

Kind = ApprovalRequest.Kind


def of(kind: str = Kind.DELETE_KEYS, **changed: Any) -> dict[str, EvidenceLine]:
    found = lines.lines_of(ApprovalRequest(kind=kind), EVIDENCE | changed)
    return {line.title: line for line in found}


def within(part: str, **changed: Any) -> dict[str, Any]:
    return {part: {**EVIDENCE[part], **changed}}  # type: ignore[dict-item]


QUIET: dict[str, Any] = {"warnings": []}


def test_a_deletion_has_six_lines() -> None:
    assert [*of()] == [
        "Can be restored", "Agrees with D1", "Done in qa", "Code references", "Shared with the team", "Limits"
    ]  # fmt: skip
    assert all(line.fine for line in of(**QUIET, **within("references", follow_ups={"open": 0, "due": ""})).values())


def test_a_warning_about_qa_is_seen_at_the_line_of_qa_and_others_at_the_limits() -> None:
    found = of()
    assert [one["code"] for one in found["Done in qa"].warnings] == ["qa_leftovers", "qa_empty"]
    assert [one["code"] for one in found["Limits"].warnings] == ["expired", "read_in_bulk", "sample_family"]
    assert (found["Done in qa"].fine, found["Limits"].fine) == (False, False)


@pytest.mark.parametrize(
    ("changed", "title", "said"),
    [
        (within("generation", status="damaged"), "Can be restored", "Damaged"),
        (within("lock", state="missing") | {"risks": ["lock_missing"]}, "Can be restored", "Not locked"),
        (within("check", differences=2), "Differs from D1", "2 differences"),
        (within("check", outcome="failed"), "Differs from D1", "0 differences"),
        (within("references", unanswered=1, answers=[]), "Code references", "1 without an answer"),
        (within("references", deployed={"state": "other"}, answers=[]), "Code references", "Other code runs"),
        ({}, "Code references", "0 without an answer; 1 code follow-up open until 1 Dec"),
        ({"references": {}}, "Code references", "The code was not searched."),
        ({"shared": None}, "Not shared with the team", "no place"),
    ],
)
def test_what_is_not_in_order_asks_for_a_look(changed: dict[str, Any], title: str, said: str) -> None:
    line = of(**QUIET, **changed)[title]
    assert (line.fine, said in line.said) == (False, True)


def test_a_cache_needs_no_lock_and_has_no_rows_and_the_first_environment_no_example() -> None:
    found = of(**QUIET, **within("lock", state="missing"), check=None, qa=[])
    assert found["Can be restored"].fine
    assert (found["No rows in D1"].fine, found["First environment"].fine) == (None, None)


def test_a_restore_that_overwrites_asks_for_a_look() -> None:
    compared: dict[str, Any] = {"at": None, "found": {}}
    for number, fine in ((0, True), (2, False)):
        found = of(Kind.RESTORE, compared=compared, overwritten={"count": number, "sha256": ""})
        assert found["Compared with KV"].fine is fine


def test_a_change_that_was_not_tried_in_qa_quotes_the_reason() -> None:
    line = of(Kind.PUT_KEY, qa=None, no_qa_because="QA has no mail.")["Not tried in QA first"]
    assert (line.fine, line.quote) == (False, "QA has no mail.")
    assert of(Kind.PUT_KEY, qa=None, no_qa_because="")["First environment"].fine is None


@pytest.mark.parametrize(("risks", "fine"), [([], True), (["bulk_qa_differs"], False)])
def test_a_bulk_change_of_other_keys_in_qa_asks_for_a_look(risks: list[str], fine: bool) -> None:
    qa = {"environment": "qa", "accepted_by": "Operator", "accepted_at": None, "note": "Pages load."}
    line = of(Kind.BULK_CHANGE, qa=qa, risks=risks)["Done in qa"]
    assert (line.fine, line.quote) == (fine, "Pages load.")


@pytest.mark.parametrize(("newer", "fine"), [([4], True), ([], False)])
def test_a_pruned_backup_has_a_newer_one(newer: list[int], fine: bool) -> None:
    found = of(Kind.DELETE_GENERATIONS, generations={"count": 1, "list": [{"newer": newer}]})
    assert found["Replaced by newer backups"].fine is fine


@pytest.mark.parametrize("kind", Kind.values)
def test_evidence_that_lacks_everything_still_has_its_page(kind: str) -> None:
    assert all(line.title for line in lines.lines_of(ApprovalRequest(kind=kind), {}))


def test_the_ids_are_those_of_the_evidence_with_its_digest_last() -> None:
    text = canonical_evidence(EVIDENCE)
    found = lines.ids_of(ApprovalRequest(kind=Kind.DELETE_KEYS, digest=digest_of(text)), EVIDENCE)
    assert [value for _, value in found][:2] == ["b" * 32, "2" * 32]
    assert found[-1] == ("Digest of the content shown here", digest_of(text))
    assert all(value and value in text for _, value in found[:-1])
