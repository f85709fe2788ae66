"""`approval` (A4-A5): people, their rights, the clock and the policy do whatever they like, and the gate is watched.

Hypothesis chooses the steps; `model` says what each must do. Whatever the product allows and the model does not, or the
other way round, and any state in which they differ, is a violation.
"""

import contextlib
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from django.db import IntegrityError
from django.db.models import F, Q
from django.db.models.functions import Now
from django.db.transaction import atomic
from hypothesis import HealthCheck, Phase, seed, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from audit import log
from backups.cleanup import completion as cleanup_completion, requests as cleanup_requests
from backups.cleanup.stages import CleanupRefused
from backups.models import CleanupEntry, CleanupStage, Generation
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Person, Role, Run, User
from kvops.runs import driver as run_driver
from tests import make, searched
from tests.audit import flush
from tests.gate import world as gate
from tests.torture import movable_clock
from tests.torture.model import Model
from tests.torture.rows import Found, TortureFigure, TortureRow, total

EXAMPLES, STEPS = 10, 50
REFUSED = (CleanupRefused, approval_gate.ApprovalRefused, run_driver.AlreadyOpen)
counted: Counter[str] = Counter()

PEOPLE = {
    "operator": {"operator"},
    "operator2": {"operator"},
    "reviewer": {"reviewer"},
    "both": {"operator", "reviewer"},
}
NAMES = (*PEOPLE, "nobody")
slugs = st.sampled_from(("qa", "production"))
who = st.sampled_from(NAMES)
operators = st.sampled_from(("operator", "operator2", "both"))
reviewers = st.sampled_from(("reviewer", "both"))


class Gate(RuleBasedStateMachine):
    """The product and the model, side by side, in a transaction that never happens."""

    def __init__(self) -> None:
        super().__init__()
        self.undone = contextlib.ExitStack()
        self.undone.enter_context(gate.undone())
        movable_clock.move_to(0.0)
        found = gate.world()
        make.person("both", Role.OPERATOR, Role.REVIEWER)
        self.world = found
        self.people = {person.email.partition("@")[0]: person for person in Person.objects.all()}
        self.model = Model({name: set(PEOPLE.get(name, ())) for name in NAMES})
        self.request = gate.asked(found)

    def teardown(self) -> None:
        """Nothing of it happened."""
        self.undone.close()

    def stage(self, slug: str) -> CleanupStage:
        """As it is now."""
        return gate.stage_of(self.request, slug)

    def both(self, name: str, allowed: bool, act: Callable[[], object]) -> None:
        """The product does what the model says."""
        try:
            act()
        except REFUSED as refused:
            if allowed:
                raise AssertionError(f"{name} was refused: {refused}") from refused
            counted["refused"] += 1
        else:
            assert allowed, f"{name} was not refused"
            counted[name] += 1

    # People, time and rules

    @rule(name=who, role=st.sampled_from(("operator", "reviewer")))
    def change_a_role(self, name: str, role: str) -> None:
        person, roles = self.people[name], self.model.roles[name]
        if role in roles:
            make.revoke(person, Role(role))
            roles.remove(role)
        else:
            make.grant(person, Role(role))
            roles.add(role)

    @rule(name=who)
    def change_a_login(self, name: str) -> None:
        with make.past_the_triggers():
            User.objects.filter(person=self.people[name]).update(is_active=name in self.model.inactive)
        self.model.inactive ^= {name}

    @rule()
    def everybody_as_at_first(self) -> None:
        for name, roles in PEOPLE.items():
            for role in roles - self.model.roles[name]:
                self.change_a_role(name, role)
            if name in self.model.inactive:
                self.change_a_login(name)

    @rule(hours=st.sampled_from((0.5, 1, 20, 25, 73, 7 * 24 + 1)))
    def time_passes(self, hours: float) -> None:
        self.model.now += hours
        movable_clock.move_to(self.model.now * 3600.0)

    @rule(hours=st.sampled_from((25, 73)))
    def nobody_does_anything(self, hours: float) -> None:
        self.time_passes(hours)
        self.sweep()

    @rule(common=st.integers(0, 3))
    def change_the_policy(self, common: int) -> None:
        if common == 0:
            self.model.policy += 1
            make.another_policy()

    # The way of a stage

    @rule(slug=slugs)
    def prepare(self, slug: str) -> None:
        if self.model.prepare(slug):
            gate.checked(self.request, slug)

    @rule(slug=slugs)
    def verify_again(self, slug: str) -> None:
        if self.model.verify(slug):
            Generation.objects.filter(stages=self.stage(slug)).update(verified_at=Now())

    @rule(slug=slugs)
    def search_again(self, slug: str) -> None:
        self.model.search(slug)
        searched.search(self.stage(slug).environment)

    @rule(slug=slugs, by=who)
    def submit(self, slug: str, by: str) -> None:
        self.both(
            "submit",
            self.model.submit(slug, by),
            lambda: cleanup_requests.submit(self.stage(slug), by=self.people[by], ticked=True),
        )

    @rule(slug=slugs, by=who, yes=st.booleans(), shown=st.sampled_from((True, True, True, False)))
    def decide(self, slug: str, by: str, yes: bool, shown: bool) -> None:
        asked = self.newest(slug)
        if asked is None:
            return
        digest = asked.digest if shown else "0" * 64
        act = approval_gate.approve if yes else approval_gate.reject
        allowed = self.model.decide(slug, by, shown=shown, yes=yes)
        name = "approve" if yes else "reject"
        self.both(name, allowed, lambda: act(asked, by=self.people[by], shown=digest, reason="it has to be so"))

    @rule(slug=slugs, by=who)
    def withdraw(self, slug: str, by: str) -> None:
        asked = self.newest(slug)
        if asked is not None:
            allowed = self.model.withdraw(slug, by)
            self.both("withdraw", allowed, lambda: approval_gate.withdraw(asked, by=self.people[by]))

    @rule()
    def sweep(self) -> None:
        expected = self.model.expire()
        assert approval_gate.expire() == expected
        counted["expired"] += expected

    @rule(slug=slugs, by=who)
    def start(self, slug: str, by: str) -> None:
        allowed = self.model.start(slug, by)
        self.both("start", allowed, lambda: cleanup_requests.start_deletion(self.stage(slug), by=self.people[by]))
        counted["production"] += allowed and slug == "production"

    @rule(slug=slugs)
    def send_a_chunk(self, slug: str) -> None:
        asked = self.newest(slug)
        if asked is not None and self.model.stages[slug].state not in {"confirmed", "accepted"}:
            self.both("chunk", self.model.chunk(slug), lambda: approval_gate.still_valid(asked))

    @rule(slug=slugs)
    def finish(self, slug: str) -> None:
        if self.model.finish(slug):
            gate.proven(self.stage(slug))

    @rule(slug=slugs, by=who)
    def accept(self, slug: str, by: str) -> None:
        act = self.people[by]
        self.both(
            "accept",
            self.model.accept(slug, by),
            lambda: cleanup_completion.accept_stage(self.stage(slug), note="this is fine", by=act),
        )

    @rule(by=who, common=st.integers(0, 5))
    def end(self, by: str, common: int) -> None:
        if common == 0:
            self.both(
                "end",
                self.model.end(by),
                lambda: cleanup_completion.end(self.request, reason="no longer needed", by=self.people[by]),
            )

    @rule()
    def ask_again(self) -> None:
        asker = next((name for name in NAMES if self.model.holds(name, "operator")), None)
        if asker is not None and self.model.again():
            self.request = gate.asked(self.world, by=self.people[asker])

    # As it should go, by those who may: otherwise chance seldom gets beyond a submit

    @rule(slug=slugs, asker=operators, reviewer=reviewers, starter=operators)
    def go_on(self, slug: str, asker: str, reviewer: str, starter: str) -> None:
        match self.model.stages[slug].state:
            case "waiting" | "frozen":
                self.prepare(slug)
            case "checked":
                self.verify_again(slug)
                if not self.model.searched(slug):
                    self.search_again(slug)
                self.submit(slug, asker)
            case "submitted":
                self.decide(slug, reviewer, yes=True, shown=True)
            case "approved":
                self.start(slug, starter)
            case "deleting":
                self.send_a_chunk(slug)
                self.finish(slug)
            case "confirmed":
                self.accept(slug, asker)
            case _:
                self.ask_again()

    @rule(slug=slugs, asker=operators, reviewer=reviewers, starter=operators)
    def go_on_twice(self, slug: str, asker: str, reviewer: str, starter: str) -> None:
        for _ in range(2):
            self.go_on(slug, asker, reviewer, starter)

    @rule()
    def all_of_qa(self) -> None:
        self.everybody_as_at_first()
        for _ in range(6):
            self.go_on("qa", "operator", "reviewer", "operator2")

    # Past the features

    @rule(
        slug=slugs, column=st.sampled_from(("evidence", "digest", "subject", "title", "kind", "decide_by", "requester"))
    )
    def edit(self, slug: str, column: str) -> None:
        asked = self.newest(slug)
        if asked is not None:
            value = {"decide_by": F("decide_by") + timedelta(hours=1), "requester": self.people["nobody"]}.get(
                column, "x"
            )
            self.refused_by_the_database(ApprovalRequest.objects.filter(pk=asked.pk), **{column: value})

    @rule(slug=slugs, state=st.sampled_from(("approved", "used", "accepted", "deleting", "confirmed")))
    def jump(self, slug: str, state: str) -> None:
        stage = self.stage(slug)
        if state != stage.state and (stage.state, state) != ("confirmed", "accepted"):
            self.refused_by_the_database(CleanupStage.objects.filter(pk=stage.pk), state=state)

    @rule(slug=slugs)
    def edit_a_name(self, slug: str) -> None:
        stage = self.stage(slug)
        if stage.state not in {"waiting", "frozen", "ended"}:
            self.refused_by_the_database(CleanupEntry.objects.filter(stage=stage, index=0), name="system-root")

    @rule(slug=slugs, by=who)
    def run_without_a_claim(self, slug: str, by: str) -> None:
        asked = self.newest(slug)
        with contextlib.suppress(IntegrityError, run_driver.AlreadyOpen):
            with log.transaction():
                person = self.people[by]
                run_driver.create(
                    Run.Kind.DELETE, subject=f"stage:{self.stage(slug).pk}", label="x", person=person, approval=asked,
                    actor=person.actor, environment=self.stage(slug).environment,
                )  # fmt: skip
            raise AssertionError("a deletion was created around the gate")
        counted["refused"] += 1

    @rule(slug=slugs, by=who)
    def claim_again(self, slug: str, by: str) -> None:
        asked = self.newest(slug)
        if asked is not None and asked.state != "approved":
            self.both("claim", False, lambda: self.claim(asked, self.people[by]))

    def claim(self, asked: ApprovalRequest, by: Person) -> None:
        with log.transaction():
            kind = ApprovalRequest.Kind.DELETE_KEYS
            approval_gate.claim(asked, kind=kind, subject=asked.subject, digest=asked.digest, by=by)

    def newest(self, slug: str) -> ApprovalRequest | None:
        """The stage's newest request."""
        return ApprovalRequest.objects.filter(subject=f"stage:{self.stage(slug).pk}").order_by("-pk").first()

    def refused_by_the_database(self, rows: object, **values: object) -> None:
        """An UPDATE past everything."""
        with contextlib.suppress(IntegrityError):
            with atomic():
                rows.update(**values)  # type: ignore[attr-defined]
            raise AssertionError(f"{values} was not refused")
        counted["refused"] += 1

    # What always holds

    @invariant()
    def the_states_are_the_same(self) -> None:
        counted["steps"] += 1
        stages = CleanupStage.objects.filter(request=self.request).select_related("environment", "approval")
        for stage in stages:
            expected = self.model.stages[stage.environment.slug]
            assert stage.state == expected.state, (stage.environment.slug, stage.state, expected.state)
            approval = expected.approval
            assert (stage.approval.state if stage.approval else None) == (approval.state if approval else None)

    @invariant()
    def nothing_was_used_that_should_not(self) -> None:
        used = ApprovalRequest.objects.filter(state="used")
        assert not used.filter(Q(approver=F("requester")) | Q(approver=F("starter"))).exists()
        assert used.count() == self.model.runs == Run.objects.filter(kind="delete").count()
        assert not Run.objects.filter(kind="delete").exclude(approval_digest=F("approval__digest")).exists()


def _trial(number: int, seed_: int) -> Found:
    counted.clear()

    @seed(f"{seed_}:{number}")
    class Seeded(Gate):
        pass

    chosen = settings(
        max_examples=EXAMPLES, stateful_step_count=STEPS, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck), print_blob=False,
    )  # fmt: skip
    violations = 0
    try:
        run_state_machine_as_test(Seeded, settings=chosen)
    except Exception:  # noqa: BLE001 # it is counted, and shown
        traceback.print_exc(file=sys.stderr)
        violations = 1
    return {**counted, "violations": violations}


def _approval(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    flush.empty_the_database()
    with gate.undone(), movable_clock.clock():
        for number in numbers:
            yield number, _trial(number, seed)


NAMED = {
    "steps": "steps",
    "refused": "steps that were refused, as they must be",
    "approve": "approvals",
    "start": "deletions started",
    "production": "of them of production",
    "expired": "requests that ran out",
}


def _figures(found: Sequence[Found]) -> list[TortureFigure]:
    return [
        TortureFigure("violations", total(found, "violations"), "==", 0),
        TortureFigure("steps", total(found, "steps"), ">=", 400 * len(found)),
        *(TortureFigure(text, total(found, name)) for name, text in NAMED.items() if name != "steps"),
    ]


ROWS = (TortureRow("approval", "A4-A5", n=250, slice=0, trials=_approval, figures=_figures),)
