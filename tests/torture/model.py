"""What the gate must do, told once more in plain Python: nothing of the product is imported here.

A deletion of QA and then of production, with people whose roles come and go, a clock, a policy that changes, and the
rules of four eyes. Each method answers whether the step is allowed and, when it is, takes it.
"""

from dataclasses import dataclass, field

DECIDE_WITHIN = 72.0
USE_WITHIN = 24.0
QA_EVIDENCE = 7 * 24.0
VERIFIED_FRESH = 24.0
SEARCHED_FRESH = 7 * 24.0
BEFORE = ("waiting", "frozen", "checked", "submitted", "approved")


@dataclass
class Approval:
    """A request for a decision."""

    requester: str
    decide_by: float
    policy: int
    qa: int | None
    search: int
    state: str = "pending"
    approver: str = ""
    use_by: float = 0.0
    starter: str = ""


@dataclass
class Stage:
    """The clean-up of one environment."""

    state: str = "waiting"
    verified_at: float = 0.0
    approval: Approval | None = None
    used: Approval | None = None
    scope: int = 0


@dataclass
class Model:
    """The whole of it. Hours since the beginning; policies by their number."""

    roles: dict[str, set[str]]
    inactive: set[str] = field(default_factory=set)
    now: float = 0.0
    policy: int = 1
    over: bool = False
    stages: dict[str, Stage] = field(default_factory=lambda: {"qa": Stage(), "production": Stage()})
    runs: int = 0
    accepted: list[tuple[float, int]] = field(default_factory=list)
    searches: dict[str, list[float]] = field(default_factory=lambda: {"qa": [0.0], "production": [0.0]})

    def holds(self, who: str, role: str) -> bool:
        """A role, and a login that works."""
        return role in self.roles[who] and who not in self.inactive

    def evidence(self) -> int | None:
        """Which acceptance of QA under this very policy is the newest that still counts."""
        fresh = [
            number
            for number, (at, policy) in enumerate(self.accepted)
            if policy == self.policy and self.now - at <= QA_EVIDENCE
        ]
        return max(fresh, default=None)

    def turn(self, slug: str) -> bool:
        """QA first."""
        return not self.over and (slug == "qa" or self.evidence() is not None)

    def prepare(self, slug: str) -> bool:
        """Names, copy, read-back and check; what was submitted is left alone."""
        stage = self.stages[slug]
        if self.over or stage.state not in {"waiting", "frozen"}:
            return False
        stage.state, stage.verified_at = "checked", self.now
        return True

    def verify(self, slug: str) -> bool:
        """The copy is read back once more."""
        if self.stages[slug].state == "checked":
            self.stages[slug].verified_at = self.now
        return self.stages[slug].state == "checked"

    def search(self, slug: str) -> None:
        """The code of the environment is searched once more."""
        self.searches[slug].append(self.now)

    def searched(self, slug: str) -> bool:
        """Whether the newest search of the code is recent; it was made a little after the hour."""
        return self.now - self.searches[slug][-1] < SEARCHED_FRESH

    def submit(self, slug: str, by: str) -> bool:
        """An operator asks."""
        stage = self.stages[slug]
        fresh = self.now - stage.verified_at <= VERIFIED_FRESH and self.searched(slug)
        if not (self.holds(by, "operator") and self.turn(slug) and stage.state == "checked" and fresh):
            return False
        stage.state, stage.scope = "submitted", self.policy
        stage.approval = Approval(by, self.now + DECIDE_WITHIN, self.policy, self.seen(slug), len(self.searches[slug]))
        return True

    def seen(self, slug: str) -> int | None:
        """The evidence of QA that a reviewer of this stage is shown."""
        return self.evidence() if slug == "production" else None

    def decide(self, slug: str, by: str, *, shown: bool, yes: bool) -> bool:
        """Another person, a reviewer, in time, who was shown this."""
        stage = self.stages[slug]
        asked = stage.approval
        if asked is None or asked.state != "pending" or not shown or asked.requester == by:
            return False
        if not self.holds(by, "reviewer") or self.now > asked.decide_by:
            return False
        asked.approver = by
        if yes:
            asked.state, asked.use_by, stage.state = "approved", self.now + USE_WITHIN, "approved"
        else:
            self.back(stage, "rejected")
        return True

    def withdraw(self, slug: str, by: str) -> bool:
        """Any operator takes back what was not used."""
        stage = self.stages[slug]
        if stage.approval is None or stage.state not in {"submitted", "approved"} or not self.holds(by, "operator"):
            return False
        self.back(stage, "withdrawn")
        return True

    def back(self, stage: Stage, state: str) -> None:
        """The request is over; the stage is prepared anew."""
        if stage.approval is not None:
            stage.approval.state = state
        stage.state, stage.approval = "frozen", None

    def expire(self) -> int:
        """What nobody decided or used in time; how many."""
        late = [
            stage
            for stage in self.stages.values()
            if (asked := stage.approval) is not None
            and (
                (asked.state == "pending" and self.now > asked.decide_by)
                or (asked.state == "approved" and self.now > asked.use_by)
            )
        ]
        for stage in late:
            self.back(stage, "expired")
        return len(late)

    def start(self, slug: str, by: str) -> bool:
        """The one use, by an operator who did not approve, while everything is as it was shown."""
        stage = self.stages[slug]
        asked = stage.approval
        if asked is None or stage.state != "approved" or not self.holds(by, "operator") or not self.turn(slug):
            return False
        if (asked.policy, asked.qa, asked.search) != (self.policy, self.seen(slug), len(self.searches[slug])):
            self.back(stage, "withdrawn")  # stale: the stage is prepared anew
            return False
        rights = self.holds(asked.requester, "operator") and self.holds(asked.approver, "reviewer")
        if not rights or by == asked.approver or self.now > asked.use_by or not self.searched(slug):
            return False
        asked.state, asked.starter = "used", by
        stage.state, stage.used = "deleting", asked
        self.runs += 1
        return True

    def chunk(self, slug: str) -> bool:
        """Whether a worker may send the next chunk."""
        stage = self.stages[slug]
        used = stage.used
        if used is None or stage.state != "deleting":
            return False
        operators = self.holds(used.requester, "operator") and self.holds(used.starter, "operator")
        return operators and self.holds(used.approver, "reviewer")

    def finish(self, slug: str) -> bool:
        """The names are gone."""
        if self.stages[slug].state != "deleting":
            return False
        self.stages[slug].state = "confirmed"
        return True

    def accept(self, slug: str, by: str) -> bool:
        """An operator tried the application."""
        stage = self.stages[slug]
        if stage.state != "confirmed" or not self.holds(by, "operator"):
            return False
        stage.state = "accepted"
        if slug == "qa":
            self.accepted.append((self.now, stage.scope))
        self.over = self.over or all(one.state == "accepted" for one in self.stages.values())
        return True

    def end(self, by: str) -> bool:
        """An operator gives it up before a deletion began."""
        begun = any(stage.state in {"deleting", "confirmed"} for stage in self.stages.values())
        if self.over or begun or not self.holds(by, "operator"):
            return False
        for stage in self.stages.values():
            if stage.state in BEFORE:
                self.back(stage, "withdrawn")
                stage.state = "ended"
        self.over = True
        return True

    def again(self) -> bool:
        """A new clean-up of the same, when the last one is over."""
        if not self.over:
            return False
        self.over, self.stages = False, {"qa": Stage(), "production": Stage()}
        return True
