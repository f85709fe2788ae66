"""The scenes of the row `races`: two acts on one stage at the same moment, and how each outcome must have left it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from kvops.models import Person
from tests.torture import race_acts
from tests.torture.race_acts import Act, RaceGround


@dataclass(frozen=True)
class After:
    """How an outcome leaves the approval and the stage, and what was recorded.

    An entry is the action and the number of the act whose person it names, or `-` when the product acts by itself.
    `deleted`: how many deletes a worker then sends; None when as many as were intended.
    """

    approval: str
    stage: str
    entries: str
    deleted: int | None = 0

    def __post_init__(self) -> None:
        """Entries in alphabetical order."""
        object.__setattr__(self, "entries", ", ".join(sorted(filter(None, self.entries.split(", ")))))

    def with_deletes(self, intended: int) -> "After":
        """With a number for `deleted`."""
        return replace(self, deleted=intended) if self.deleted is None else self


@dataclass(frozen=True)
class Scene:
    """Two acts, and what must be when the first, the second, both or none was done; a missing outcome must not be."""

    until: Callable[[RaceGround], None]
    first: Act
    second: Act
    who: Callable[[RaceGround], tuple[Person, Person]]
    outcomes: Mapping[tuple[bool, bool], Sequence[After]]


FIRST, SECOND, BOTH, NONE = (True, False), (False, True), (True, True), (False, False)


def reviewers(ground: RaceGround) -> tuple[Person, Person]:
    """Two who decide."""
    return ground.people.reviewer, ground.reviewer2


def operators(ground: RaceGround) -> tuple[Person, Person]:
    """Two who ask and start."""
    return ground.operators


def both_roles(ground: RaceGround) -> tuple[Person, Person]:
    """One who decides, one who asked or may take back."""
    return ground.people.reviewer, ground.people.operator2


APPROVE = After("approved", "approved", "approval.approved 0, stage.approved 0")
REJECTED = After("rejected", "frozen", "approval.rejected 1, stage.returned 1")
WITHDRAWN = After("withdrawn", "frozen", "approval.withdrawn 1, stage.returned -")
STARTED = After("used", "deleting", "approval.used 0, run.created 0, stage.deleting 0", 1)
STARTED_BUT = After("used", "deleting", STARTED.entries, 0)
STILL = After("approved", "approved", "")


def as_second(after: After) -> After:
    """The same by the other person."""
    return After(after.approval, after.stage, after.entries.replace("0", "1"), after.deleted)


def going(entries: str = "", deleted: int | None = None) -> After:
    """The deletion is under way."""
    return After("used", "deleting", entries, deleted)


INTENDED, ASKED = "chunk.intended 0", "run.stop_requested 1"
ENDED, ENDED_BY_ITSELF = "run.stopped 1", "run.stopped -"
"""A run that a person stopped is stopped in the name of that person."""
SCENES: Mapping[str, Scene] = {
    "approve/approve": Scene(
        race_acts.submitted, race_acts.decide(0, True), race_acts.decide(1, True), reviewers,
        {FIRST: [APPROVE], SECOND: [as_second(APPROVE)]},
    ),
    "approve/reject": Scene(
        race_acts.submitted, race_acts.decide(0, True), race_acts.decide(1, False), reviewers,
        {FIRST: [APPROVE], SECOND: [REJECTED]},
    ),
    "approve/withdraw": Scene(
        race_acts.submitted, race_acts.decide(0, True), race_acts.withdraw, both_roles,
        {SECOND: [WITHDRAWN], BOTH: [After("withdrawn", "frozen", f"{APPROVE.entries}, {WITHDRAWN.entries}")]},
    ),
    "reject/withdraw": Scene(
        race_acts.submitted, race_acts.decide(0, False), race_acts.withdraw, both_roles,
        {FIRST: [After("rejected", "frozen", "approval.rejected 0, stage.returned 0")], SECOND: [WITHDRAWN]},
    ),
    "approve/edit": Scene(
        race_acts.submitted, race_acts.decide(0, True), race_acts.edit, both_roles, {FIRST: [APPROVE]}
    ),
    "submit/submit": Scene(
        race_acts.checked, race_acts.submit(0), race_acts.submit(1), operators,
        {
            FIRST: [After("pending", "submitted", "approval.requested 0, stage.submitted 0")],
            SECOND: [After("pending", "submitted", "approval.requested 1, stage.submitted 1")],
        },
    ),
    "start/start": Scene(
        race_acts.approved, race_acts.start(0), race_acts.start(1), operators,
        {FIRST: [STARTED], SECOND: [as_second(STARTED)]},
    ),
    "start/withdraw": Scene(
        race_acts.approved, race_acts.start(0), race_acts.withdraw, operators, {FIRST: [STARTED], SECOND: [WITHDRAWN]}
    ),
    "start/expire": Scene(
        race_acts.about_to_run_out, race_acts.start(0), race_acts.expire, operators,
        # Too late for the start and too early for the sweep: the next one closes it.
        {FIRST: [STARTED], SECOND: [After("expired", "frozen", "approval.expired -, stage.returned -")], NONE: [STILL]},
    ),
    "start/another policy": Scene(
        race_acts.approved, race_acts.start(0), race_acts.replace_the_policy, operators,
        # The first looks once more before anything is sent.
        {BOTH: [STARTED_BUT], SECOND: [After("withdrawn", "frozen", "approval.withdrawn 0, stage.returned -")]},
    ),
    "start/right taken away": Scene(
        race_acts.approved, race_acts.start(0), race_acts.revoke, operators, {BOTH: [STARTED_BUT], SECOND: [STILL]}
    ),
    "start/emergency stop": Scene(
        race_acts.approved, race_acts.start(0), race_acts.press, operators, {BOTH: [STARTED_BUT], SECOND: [STILL]}
    ),
    "send/emergency stop": Scene(
        race_acts.started, race_acts.send, race_acts.press, operators,
        {BOTH: [going(INTENDED), going(ENDED_BY_ITSELF), going()]},
    ),
    "send/stop": Scene(
        race_acts.started, race_acts.send, race_acts.ask_to_stop, operators,
        {BOTH: [going(ASKED + more) for more in ("", f", {INTENDED}", f", {ENDED}", f", {INTENDED}, {ENDED}")]},
    ),
    "take/take": Scene(
        race_acts.started, race_acts.take, race_acts.take, operators, {FIRST: [going()], SECOND: [going()]}
    ),
    "resume/resume": Scene(
        race_acts.stopped, race_acts.resume(0), race_acts.resume(1), operators,
        {FIRST: [going("run.resumed 0", 1)], SECOND: [going("run.resumed 1", 1)]},
    ),
    "resume/end early": Scene(
        race_acts.stopped, race_acts.resume(0), race_acts.end_early, operators,
        {FIRST: [going("run.resumed 0", 1)], SECOND: [going("run.resumed 1", 0)]},
    ),
}  # fmt: skip
