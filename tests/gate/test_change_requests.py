"""A change is submitted, started, given up and accepted, without a row: each condition, and all that is kept."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from django.db.models.functions import Now

from audit import log
from audit.actions import Action
from backups import archive, policy
from backups.changes import evidence as change_evidence, qa, requests as change_requests
from backups.changes.moves import CHANGES, ChangeRefused
from backups.execution import evidence as shared
from backups.execution.lifecycle import Lifecycle
from backups.models import Generation, KeyChange
from kvops.approvals import evidence, gate as approval_gate
from kvops.inventory import value as key_value
from kvops.models import ApprovalRequest, Category, Environment, Namespace, Person, Run
from kvops.runbook.secrets import RunbookRefused

ACTOR = log.Actor.system("approvals")
OTHER = "The change differs from the approved one."
AT = datetime(2026, 11, 30, tzinfo=UTC)
SECRET = "AKIA1234ABCD5678EFGH"


class AskedQuery:
    """Queries that note how they were narrowed, and find these rows."""

    def __init__(self, *rows: object, updated: int = 1) -> None:
        self.rows, self.updated, self.asked = rows, updated, list[object]()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def narrow(*what: object, **how: object) -> Any:
            self.asked.append((name, *what, *how.items()))
            return self

        return narrow

    def __iter__(self) -> Iterator[object]:
        return iter(self.rows)

    def first(self) -> object:
        return self.rows[0] if self.rows else None

    def exists(self) -> bool:
        return bool(self.rows)

    def update(self, **values: object) -> int:
        self.asked.append(("update", values))
        return self.updated


class ChangeSteps:
    """What was done, in order, and whether a transaction was open."""

    def __init__(self) -> None:
        self.done, self.open = list[object](), False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.open = True
        yield
        self.open = False

    def step(self, name: str, answer: object = None) -> Callable[..., Any]:
        def act(*what: object, **how: object) -> object:
            self.done.append((name, what, how, self.open))
            return answer

        return act


def of_changes(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step as a move of the changes."""

    def act(moves: object, *what: object, **how: object) -> Any:
        assert moves is CHANGES
        return step(*what, **how)

    return act


BY: Any = Person(pk=9, name="Olga")


@pytest.fixture
def change() -> KeyChange:
    """A change of production whose proposal is made and whose old value is backed up."""
    environment = Environment(
        pk=1, slug="production", name="Production", order=2, production=True, account_id="a" * 32, r2_bucket="bucket"
    )
    namespace = Namespace(pk=2, environment=environment, namespace_id="b" * 32, title="SETTINGS", binding="SET")
    return KeyChange(
        pk=5, environment=environment, namespace=namespace, name="mail:smtp", parts=["value"], asked_by_id=9,
        state="draft", object_key="proposals/x", object_sha256="1" * 64, generation_id=7, bucket="kept",
        recipients=["age1"],
    )  # fmt: skip


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, change: KeyChange) -> ChangeSteps:
    """The steps around the conditions, noted; the row that is locked is the change."""
    found = ChangeSteps()
    monkeypatch.setattr(log, "transaction", found.transaction)
    monkeypatch.setattr(change_requests, "insist_operator", found.step("operator"))
    monkeypatch.setattr(change_requests, "locked", found.step("locked", change))
    monkeypatch.setattr(Lifecycle, "insist_operator", of_changes(found.step("operator")))
    monkeypatch.setattr(Lifecycle, "locked", of_changes(found.step("locked", change)))
    monkeypatch.setattr(KeyChange, "objects", AskedQuery())
    monkeypatch.setattr(ApprovalRequest, "objects", AskedQuery())
    monkeypatch.setattr(change_requests, "end", found.step("end"))
    monkeypatch.setattr(change_requests, "record_change", found.step("record"))
    monkeypatch.setattr(change_evidence, "build", lambda of: {"of": of.pk, "reason": of.reason})
    monkeypatch.setattr(change_evidence, "title", lambda of: f"title of {of.pk}")
    monkeypatch.setattr(Lifecycle, "submit", of_changes(found.step("submit", "request")))
    monkeypatch.setattr(Lifecycle, "claim_and_run", of_changes(found.step("claim", "run")))
    monkeypatch.setattr(Lifecycle, "end_early", of_changes(found.step("end early")))
    monkeypatch.setattr(approval_gate, "withdraw", found.step("withdraw"))
    return found


@pytest.fixture
def generations(monkeypatch: pytest.MonkeyPatch) -> AskedQuery:
    """The backups, of which the first is found."""
    found = AskedQuery(SimpleNamespace(encrypted=True, is_here=True))
    monkeypatch.setattr(Generation, "objects", found)
    return found


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> AskedQuery:
    """The changes; none is found."""
    found = AskedQuery()
    monkeypatch.setattr(KeyChange, "objects", found)
    return found


def refused(act: Callable[..., object], *what: Any, **how: Any) -> str:
    """The sentence with which it was refused."""
    with pytest.raises(ChangeRefused) as error:
        act(*what, **how)
    return str(error.value)


# Submitting


@pytest.mark.usefixtures("generations")
def test_a_change_is_submitted_with_its_reason_and_evidence(change: KeyChange, steps: ChangeSteps) -> None:
    given: Any = object()
    why = " there is no time "
    found = change_requests.submit(given, reason=" the server moved ", no_qa_because=why, by=BY)
    assert found == cast("Any", "request")
    values = {"reason": "the server moved", "no_qa_because": "there is no time", "repeats": None}
    shown = {"of": 5, "reason": "the server moved"}
    assert steps.done == [
        ("operator", (BY,), {}, True),
        ("locked", (given,), {}, True),
        (
            "submit",
            (change, "draft"),
            {"title": "title of 5", "evidence": shown, "by": BY, "values": values},
            True,
        ),
    ]


NOT_READY = "The change is not ready to submit: approved."
NOBODY_ELSE = "Olga prepared this change, and nobody else submits it. Prepare one of your own in its place."
NO_REASON = "Give the reason for the change. The reviewer reads it."
NOT_MADE = "The proposal is still being made."
NOT_BACKED_UP = "The old value is not in a verified backup yet. Wait for it, or look at its run."
NO_QA = "Name the accepted change in QA that this one repeats, or give the reason why QA does not apply."


@pytest.mark.usefixtures("generations")
@pytest.mark.parametrize(
    ("values", "reason", "sentence"),
    [
        ({"state": "approved"}, "no longer needed", NOT_READY),
        ({"asked_by": Person(pk=8, name="Olga")}, "no longer needed", NOBODY_ELSE),
        ({}, "  ", NO_REASON), ({"object_sha256": ""}, "no longer needed", NOT_MADE), ({}, "no longer needed", NO_QA),
    ],
)  # fmt: skip
def test_what_is_not_ready_is_not_submitted(
    change: KeyChange, steps: ChangeSteps, values: dict[str, object], reason: str, sentence: str
) -> None:
    for name, value in values.items():
        setattr(change, name, value)
    assert refused(change_requests.submit, change, reason=reason, by=BY) == sentence
    assert "submit" not in [cast("Any", done)[0] for done in steps.done]


@pytest.mark.usefixtures("generations", "steps")
@pytest.mark.parametrize(("reason", "because"), [(SECRET, ""), ("no longer needed", SECRET)])
def test_a_secret_in_a_reason_is_not_submitted(change: KeyChange, reason: str, because: str) -> None:
    with pytest.raises(RunbookRefused):
        change_requests.submit(change, reason=reason, no_qa_because=because, by=BY)


def test_the_old_value_is_in_a_verified_encrypted_backup_of_the_bucket(
    change: KeyChange, generations: AskedQuery
) -> None:
    insist = change_requests.insist_prepared
    insist(change)
    assert generations.asked == [("verified",), ("filter", ("changes", change))]
    unfit = "The backup of the old value is not encrypted, or is in another bucket."
    for values in ({"encrypted": False, "is_here": True}, {"encrypted": True, "is_here": False}):
        generations.rows = (SimpleNamespace(**values),)
        assert refused(insist, change) == unfit
    generations.rows = ()
    assert refused(insist, change) == NOT_BACKED_UP
    change.new_key = True
    insist(change)
    change.object_sha256 = ""
    assert refused(insist, change) == NOT_MADE


# QA


def kept(change: KeyChange) -> tuple[KeyChange | None, str]:
    return change.repeats, change.no_qa_because


def test_outside_production_nothing_is_repeated_or_explained(change: KeyChange) -> None:
    change.environment.production, change.no_qa_because, change.repeats = False, "because", KeyChange(pk=3)
    change_requests._insist_qa(change, KeyChange(pk=3))
    assert kept(change) == (None, "")


def test_production_repeats_an_accepted_change_that_counts(change: KeyChange, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier, no_qa = KeyChange(pk=3), "because"
    before = AskedQuery(earlier)
    monkeypatch.setattr(qa, "accepted_before", lambda of: before if of is change else None)
    change.no_qa_because = no_qa
    change_requests._insist_qa(change, earlier)
    assert (change.repeats, change.no_qa_because, before.asked) == (earlier, "", [("filter", ("pk", 3))])
    before.rows = ()
    assert refused(change_requests._insist_qa, change, earlier) == (
        "This is no accepted change of the same key in QA of the last 7 days that changed the same parts."
    )


def test_production_without_one_needs_a_reason_and_some_changes_have_none(change: KeyChange) -> None:
    change.no_qa_because, change.repeats = "there is no time", KeyChange(pk=3)
    change_requests._insist_qa(change, None)
    assert kept(change) == (None, "there is no time")
    change.no_qa_because = ""
    assert refused(change_requests._insist_qa, change, None) == NO_QA
    change.no_qa_because, change.parts = "there is no time", ["expiration"]
    assert refused(change_requests._insist_qa, change, None) == (
        "An expiration or metadata alone is changed in QA first: name the accepted change that this one repeats."
    )


# Starting


@pytest.fixture
def approved(change: KeyChange) -> KeyChange:
    """The change, approved as its evidence is now."""
    digest = evidence.digest_of(evidence.canonical_evidence({"of": 5, "reason": ""}))
    change.state, change.approval = "approved", ApprovalRequest(pk=3, digest=digest)
    return change


def test_what_was_approved_is_claimed_under_the_lock_of_its_backup(
    approved: KeyChange, steps: ChangeSteps, generations: AskedQuery
) -> None:
    given = KeyChange(pk=5)
    assert change_requests.start(given, by=BY) == cast("Any", "run")
    assert generations.asked == [("select_for_update", ("of", ("self",))), ("get", ("pk", 7))]
    claimed = {"digest": cast("Any", approved.approval).digest, "total": 1, "by": BY}
    assert steps.done == [
        ("locked", (given,), {}, True),
        ("operator", (BY,), {}, True),
        ("claim", (approved, approved.approval), claimed, True),
    ]


def test_a_new_key_has_no_backup_to_lock(approved: KeyChange, steps: ChangeSteps, generations: AskedQuery) -> None:
    approved.generation_id = None
    change_requests.start(approved, by=BY)
    assert generations.asked == []
    assert cast("Any", steps.done[-1])[0] == "claim"


@pytest.mark.usefixtures("steps", "generations")
def test_what_is_not_approved_is_not_started(approved: KeyChange) -> None:
    approved.state = "draft"
    assert refused(change_requests.start, approved, by=BY) == "The change is not approved: being prepared."
    approved.state = "approved"
    approved.approval = None
    assert refused(change_requests.start, approved, by=BY) == "The change is not approved: approved."


@pytest.mark.usefixtures("generations")
@pytest.mark.parametrize("why", ["evidence", "reversed"])
def test_what_differs_from_the_approved_change_is_withdrawn(
    approved: KeyChange, steps: ChangeSteps, changes: AskedQuery, why: str
) -> None:
    if why == "evidence":
        approved.reason = "other"
    else:
        approved.repeats_id, changes.rows = 3, ("reversed",)
    assert refused(change_requests.start, approved, by=BY) == f"{OTHER} Prepare it again."
    name, what, how, open_ = cast("Any", steps.done[-1])
    assert (name, what, str(how.pop("reason")), how, open_) == (
        "withdraw",
        (approved.approval,),
        OTHER,
        {"by": BY},
        False,
    )


def test_qa_stands_until_it_is_reversed(change: KeyChange, changes: AskedQuery) -> None:
    assert change_requests._qa_stands(change)
    assert changes.asked == []
    change.repeats_id = 3
    assert change_requests._qa_stands(change)
    assert changes.asked == [("applied",), ("filter", ("reverses", 3))]
    changes.rows, change.repeats_id = ("reversed",), None
    assert change_requests._qa_stands(change)
    change.repeats_id = 3
    assert not change_requests._qa_stands(change)


# Ending and accepting


def test_a_draft_is_given_up(change: KeyChange, steps: ChangeSteps) -> None:
    given: Any = object()
    for run in (None, Run(state="succeeded")):
        change.prepare_run = run
        steps.done.clear()
        change_requests.give_up(given, by=BY)
        assert steps.done == [
            ("operator", (BY,), {}, True),
            ("locked", (given,), {}, True),
            ("end", (change, ["draft"]), {"because": "Given up before it was submitted.", "actor": BY.actor}, True),
        ]
    change.prepare_run = Run(state="running")
    assert refused(change_requests.give_up, change, by=BY) == (
        "The proposal is being made. Wait for its run, or stop the run first."
    )


def test_an_early_end_still_reads_back(change: KeyChange, steps: ChangeSteps) -> None:
    change_requests.end_early(change, by=BY)
    [(_name, (given, ending), how, _open)] = cast("Any", steps.done)
    assert (given, ending(change, None), how) == (change, {"ending": True}, {"by": BY})


def test_a_written_change_is_accepted_once_with_a_note(
    change: KeyChange, steps: ChangeSteps, changes: AskedQuery
) -> None:
    given, note = cast("Any", object()), f" {'works ' * 90}"
    change_requests.accept(given, note=note, by=BY)
    kept = note.strip()
    assert changes.asked == [
        ("applied",), ("filter", ("pk", 5), ("accepted_at", None)),
        ("update", {"accepted_at": Now(), "accepted_by": BY, "accepted_note": kept}),
    ]  # fmt: skip
    recorded = {"actor": BY.actor, "details": {"note": kept[:500]}}
    assert steps.done == [
        ("operator", (BY,), {}, True),
        ("locked", (given,), {}, True),
        ("record", (Action.CHANGE_ACCEPTED, change), recorded, True),
    ]
    changes.updated = 0
    assert (
        refused(change_requests.accept, change, note="no longer needed", by=BY)
        == "Only a written change is accepted, and only once."
    )


@pytest.mark.usefixtures("steps", "changes")
def test_an_acceptance_says_what_was_tried_and_no_secret(change: KeyChange) -> None:
    assert refused(change_requests.accept, change, note="  ", by=BY) == (
        "Describe what you tried in the application, and that it works."
    )
    with pytest.raises(RunbookRefused):
        change_requests.accept(change, note=SECRET, by=BY)


# The evidence


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, change: KeyChange) -> dict[str, object]:
    """The evidence of the change, as a reviewer is shown it."""
    generations = AskedQuery()
    monkeypatch.setattr(Generation, "objects", generations)
    monkeypatch.setattr(shared, "backup", lambda of: {"backup": len(of.asked)} if of is generations else {})
    monkeypatch.setattr(policy, "shown", lambda: {"policy": 1})
    monkeypatch.setattr(
        key_value, "category_of", lambda *of: Category.SETTINGS if of == (change.namespace, "mail:smtp") else None
    )
    return {
        "format": 1,
        "action": "put_key",
        "environment": "production",
        "production": True,
        "account_id": "a" * 32,
        "binding": "SET",
        "namespace_id": "b" * 32,
        "namespace_title": "SETTINGS",
        "prefix": "mail:smtp",
        "exact": True,
        "names": {
            "count": 1, "sha256": archive.names_sha256(["mail:smtp"]), "first": "mail:smtp", "last": "mail:smtp",
            "sample": ["mail:smtp"],
        },
        "new_key": False,
        "parts": ["value"],
        "expiration": {"before": 1, "after": 2},
        "category": Category.SETTINGS.value,
        "reason": "moved as agreed",
        "policy": {"policy": 1},
        "proposal": {"bucket": "kept", "object": "proposals/x", "sha256": "1" * 64, "recipients": ["age1"]},
        "generation": {"backup": 2},
        "reverses": 4,
        "qa": None,
        "no_qa_because": "there is no time",
        "risks": ["qa_not_repeated"],
        "warnings": [{"code": "change_new"}],
    }  # fmt: skip


def test_the_evidence_is_the_target_the_proposal_the_backup_and_qa(change: KeyChange, shown: dict[str, object]) -> None:
    change.expiration_before, change.expiration_after, change.reverses_id = 1, 2, 4
    change.reason, change.no_qa_because, change.warnings = "moved as agreed", "there is no time", ["new"]
    assert change_evidence.build(change) == shown
    assert json.loads(evidence.canonical_evidence(shown)) == shown
    change.environment.production = False
    assert change_evidence.build(change)["risks"] == []
    change.generation_id = None
    assert change_evidence.build(change)["generation"] is None


@pytest.mark.usefixtures("shown")
def test_the_change_of_qa_is_shown_and_is_no_risk(change: KeyChange) -> None:
    by = Person(pk=8, name="Olga")
    earlier = KeyChange(
        pk=3, environment=Environment(slug="qa"), parts=["value"], accepted_note="works as agreed", accepted_by=by,
        accepted_at=AT,
    )  # fmt: skip
    change.repeats = earlier
    found = change_evidence.build(change)
    assert (found["risks"], found["qa"]) == (
        [],
        {
            "change": 3, "environment": "qa", "parts": ["value"], "accepted_at": evidence.moment(AT),
            "accepted_by": str(by), "note": "works as agreed",
        },
    )  # fmt: skip
    earlier.accepted_by = None
    assert cast("Any", change_evidence.build(change)["qa"])["accepted_by"] == ""


def test_the_title_says_whether_the_key_is_new(change: KeyChange) -> None:
    assert change_evidence.title(change) == "Change key mail:smtp in Production SETTINGS"
    change.new_key = True
    assert change_evidence.title(change) == "Create key mail:smtp in Production SETTINGS"
