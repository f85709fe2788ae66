"""Rows in every state, made the way the product makes them: along the arrows of the models' docstrings."""

from copy import copy
from datetime import timedelta
from functools import cached_property
from hashlib import sha256

from django.db import connection
from django.db.models import F, Model
from django.db.models.functions import Now

from kvops.models import (
    AnswerCount,
    ApprovalRequest,
    Budget,
    BudgetSpend,
    Category,
    DailyUse,
    Database,
    DatabaseRollback,
    EmergencyStop,
    Environment,
    Family,
    Firing,
    Namespace,
    Notification,
    Person,
    PolicyVersion,
    PreparedChange,
    ReferenceAnswer,
    ReferenceHit,
    ReferenceSearch,
    RefusedToken,
    RoleGrant,
    Run,
    Scan,
    ScanCount,
    Schedule,
    Skew,
    UnexpectedKey,
    UnexplainedDeletion,
    User,
)

HOUR = timedelta(hours=1)
SHA = "0" * 64
PATHS = {
    "approved": ["approved"],
    "rejected": ["rejected"],
    "withdrawn": ["withdrawn"],
    "expired": ["expired"],
    "used": ["approved", "used"],
    "running": ["running"],
    "succeeded": ["running", "succeeded"],
    "failed": ["running", "failed"],
    "stopped": ["running", "stopped"],
}


def change(row: Model, **values: object) -> None:
    """Past every feature and form: one UPDATE of one row."""
    type(row)._default_manager.filter(pk=row.pk).update(**values)


def again(row: Model, **different: object) -> Model:
    """One INSERT of a copy of the row, with these differences."""
    second = copy(row)
    second.pk = None
    for name, value in different.items():
        setattr(second, name, value)
    second.save(force_insert=True)
    return second


def sql(statement: str) -> None:
    """One statement on the test's own connection."""
    with connection.cursor() as cursor:
        cursor.execute(statement)


class Prerequisites:
    """What a row needs to exist, made when it is first asked for."""

    number = 0

    def count(self) -> int:
        """A number that was not used yet."""
        self.number += 1
        return self.number

    def person(self, name: str) -> Person:
        """Somebody."""
        return Person.objects.create(name=name, email=f"{name}@example.com")

    @cached_property
    def operator(self) -> Person:
        """Who asks and starts."""
        return self.person("operator")

    @cached_property
    def reviewer(self) -> Person:
        """Who decides."""
        return self.person("reviewer")

    @cached_property
    def other(self) -> Person:
        """A third person."""
        return self.person("other")

    @cached_property
    def environment(self) -> Environment:
        """QA."""
        return Environment.objects.create(slug="qa", name="QA", order=1, read_token="env:R", write_token="env:W")

    @cached_property
    def namespace(self) -> Namespace:
        """SETTINGS in QA."""
        return Namespace.objects.create(environment=self.environment, binding="SETTINGS", namespace_id="1" * 32)

    @cached_property
    def production(self) -> Environment:
        """Another environment."""
        return Environment.objects.create(
            slug="production", name="Production", order=2, read_token="env:R", write_token="env:W"
        )

    @cached_property
    def namespace_of_production(self) -> Namespace:
        """SETTINGS in production."""
        return Namespace.objects.create(environment=self.production, binding="SETTINGS", namespace_id="2" * 32)

    def family(self, category: str = Category.LEGACY) -> Family:
        """A family of its own."""
        return Family.objects.create(binding="SETTINGS", pattern=f"f{self.count()}:", category=category, owner="o")

    def user(self) -> User:
        """A login."""
        return User.objects.create(email="operator@example.com", person=self.operator)

    def grant(self) -> RoleGrant:
        """A role that is held."""
        return RoleGrant.objects.create(person=self.operator, role="operator", granted_by="x")

    def policy(self) -> PolicyVersion:
        """A policy."""
        digest = sha256(b"{}").hexdigest()
        return PolicyVersion.objects.create(number=1, digest=digest, definition="{}", applied_by="x")

    def database(self) -> Database:
        """A D1 database."""
        return Database.objects.create(environment=self.environment, binding="MASTERS_D1", database_id="1")

    def budget(self) -> Budget:
        """A limit."""
        return Budget.objects.create(name="a")

    def spend(self) -> BudgetSpend:
        """Spent requests."""
        return BudgetSpend.objects.create(budget=self.budget(), second=1, calls=1)

    def use(self) -> DailyUse:
        """What was sent in a day."""
        return DailyUse.objects.create(account="a", day="2026-01-01")

    def scan(self) -> Scan:
        """A scan."""
        return Scan.objects.create(namespace=self.namespace, run=self.run())

    def missing(self) -> UnexplainedDeletion:
        """A key that vanished without an explanation."""
        return UnexplainedDeletion.objects.create(scan=self.scan(), name="a", category="legacy")

    def unexpected(self) -> UnexpectedKey:
        """A new key where none may come."""
        return UnexpectedKey.objects.create(scan=self.scan(), name="a", category="legacy")

    def counted(self) -> ScanCount:
        """Keys counted by a scan."""
        return ScanCount.objects.create(scan=self.scan(), category="legacy", pattern="a:", keys=1)

    def prepared(self, **values: object) -> PreparedChange:
        """A change of the policy, made ready by a command."""
        return PreparedChange.objects.create(
            **{"kind": "policy", "definition": "{}", "summary": "", "prepared_by": "x", **values}
        )

    def search(self, **values: object) -> ReferenceSearch:
        """A search of a checkout for code references."""
        counts = {"files": 3, "hit_count": 1, "digest": f"{self.count():064}", "searched_at": Now()}
        made = {"environment": self.environment, "source": "file", "commit": "c", "made_by": "x", **counts}
        return ReferenceSearch.objects.create(**{**made, **values})

    def hit(self, **values: object) -> ReferenceHit:
        """A code reference, found an hour ago."""
        place = {"file": "a.ts", "line": 7, "column": 3, "text": "master:", "family": "SETTINGS *"}
        kind = {"certainty": "certain", "access": "read", "fingerprint": SHA}
        if "search" not in values:
            values = {"search": self.search(searched_at=Now() - HOUR), **values}
        return ReferenceHit.objects.create(**{**place, **kind, **values})

    def operating(self) -> Person:
        """The operator, with the role and a login that is active."""
        RoleGrant.objects.get_or_create(person=self.operator, role="operator", granted_by="x")
        User.objects.get_or_create(email="operator@example.com", person=self.operator)
        return self.operator

    def answer(self, **values: object) -> ReferenceAnswer:
        """A follow-up about a code reference."""
        what = {"kind": "follow_up", "follow_up": "d1", "owner": self.operator, "due": "2026-12-01"}
        if "hit" not in values:
            values = {"hit": self.hit(), **values}
        made = {
            "family": self.family(),
            "fingerprint": SHA,
            "reason": "no longer needed",
            "by": self.operating(),
            **what,
        }
        return ReferenceAnswer.objects.create(**{**made, **values})

    def approval(self, state: str = "pending", /, **values: object) -> ApprovalRequest:
        """A request in this state, by the operator, decided by the reviewer."""
        request = ApprovalRequest.objects.create(
            **{
                "kind": "delete_keys",
                "subject": f"stage:{1000 + self.count()}",
                "evidence": "{}",
                "digest": sha256(b"{}").hexdigest(),
                "requester": self.operator,
                "environment": self.environment,
                "decide_by": Now() + HOUR,
                **values,
            }
        )
        for step in PATHS.get(state, []):
            change(request, **self.to(ApprovalRequest, step))
        request.refresh_from_db()
        return request

    def of_size(self, octets: int) -> ApprovalRequest:
        """A request with so much evidence."""
        evidence = "x" * octets
        return self.approval(evidence=evidence, digest=sha256(evidence.encode()).hexdigest())

    def run(self, state: str = "queued", /, **values: object) -> Run:
        """A run in this state."""
        run = Run.objects.create(**{"kind": "scan", "subject": f"namespace:{self.count()}", "actor": "x", **values})
        for step in PATHS.get(state, []):
            change(run, **self.to(Run, step))
        run.refresh_from_db()
        return run

    def deletion(self, state: str = "queued", /, **values: object) -> Run:
        """A deletion run with the approval it used."""
        approval = self.approval("used")
        return self.run(state, **{**self.used(approval), **values})

    def stop(self, **values: object) -> EmergencyStop:
        """An emergency stop that is on."""
        return EmergencyStop.objects.create(**{"environment": self.environment, "by": self.operator, **values})

    def release(self, stop: EmergencyStop, state: str = "used", /, **values: object) -> dict[str, object]:
        """What an UPDATE sets to release the stop, with the approval it needs."""
        asked: dict[str, object] = {"kind": "release_stop", "subject": f"stop:{stop.pk}", **values}
        return {"approval": self.approval(state, **asked), "released_at": Now()}

    def rollback(self, **values: object) -> DatabaseRollback:
        """A bucket that contradicts the database."""
        theirs: dict[str, object] = {
            "manifest_key": "a.manifest.json",
            "modified_at": Now(),
            "sequence": 9,
            "hash": SHA,
        }
        return DatabaseRollback.objects.create(
            **{"environment": self.environment, **theirs, "our_sequence": 5, **values}
        )

    def skew(self) -> Skew:
        """A comparison of clocks."""
        return Skew.objects.create(environment=self.environment, service="r2", seconds=0, measured_at=Now())

    def refused_token(self) -> RefusedToken:
        """A token that Cloudflare does not know."""
        return RefusedToken.objects.create(
            environment=self.environment, reference="env:R", service="cloudflare", status=401, route="keys"
        )

    def answer_count(self) -> AnswerCount:
        """Answers to a call."""
        return AnswerCount.objects.create(route="keys", status=200, within=1.0, answers=1, seconds=0.5)

    def notification(self, **values: object) -> Notification:
        """A message to a person that waits to be sent."""
        return Notification.objects.create(
            **{"event": "run.failed", "subject": "run:1", "title": "x", "person": self.operator, **values}
        )

    def schedule(self, **values: object) -> Schedule:
        """A schedule that is due in a while."""
        due = {"job": "scan", "environment": self.environment, "expression": "0 3 * * *", "zone": "UTC"}
        return Schedule.objects.create(**{**due, "next_at": Now() + HOUR, **values})

    def firing(self, **values: object) -> Firing:
        """A due time at which there was nothing to do."""
        return Firing.objects.create(**{"schedule": self.schedule(), "due_at": Now(), "outcome": "nothing", **values})

    def restoring(self, state: str = "queued", /, **values: object) -> Run:
        """A restore run with the approval it used."""
        approval = self.approval("used", kind="restore", subject=f"restore:{self.count()}")
        return self.run(state, **{**self.used(approval), "kind": "restore", **values})

    def undoing(self, deletion: str = "succeeded", /, *, ended: object = None, **values: object) -> Run:
        """A run that undoes a deletion in this state."""
        approval = self.approval("used")
        run = self.run("running", **self.used(approval))
        if deletion != "running":
            change(run, **{**self.to(Run, deletion), **({"finished_at": ended} if ended else {})})
        return self.run(**{**self.used(approval), "kind": "undo", **values})

    def used(self, approval: ApprovalRequest) -> dict[str, object]:
        """What a run carries of an approval."""
        return {
            "kind": "delete",
            "subject": approval.subject,
            "approval": approval,
            "approval_digest": approval.digest,
            "started_by": self.operator,
            "environment": self.environment,
        }

    def to(self, model: type[Model], state: str) -> dict[str, object]:
        """What an UPDATE sets to move a request or a run to this state, with all the move needs."""
        over: dict[str, object] = {"owner": "", "lease_until": None, "finished_at": Now()}
        moves: dict[type[Model], dict[str, dict[str, object]]] = {
            ApprovalRequest: {
                "approved": {"approver": self.reviewer, "decided_at": Now(), "use_by": Now() + HOUR},
                "rejected": {"approver": self.reviewer, "decided_at": Now()},
                "used": {"starter": self.operator, "used_at": Now()},
            },
            Run: {
                "queued": {"finished_at": None, "epoch": F("epoch") + 1},
                "running": {"owner": "w", "lease_until": Now() + HOUR, "epoch": F("epoch") + 1},
                "succeeded": over,
                "failed": {**over, "error_code": "x", "error": "x"},
                "stopped": over,
            },
        }
        return {"state": state, **moves[model].get(state, {})}
