"""The parts of an operation, as data. Nothing here knows a feature."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from typing import Any

from django.db.models import QuerySet, TextChoices
from django.db.models.expressions import Combinable
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _, pgettext_lazy

from audit.actions import Action
from kvops.models import ApprovalRequest, Environment, NotificationEvent, Person, Role, Run
from kvops.operations.looks import Look

TEAM = (Role.OPERATOR, Role.REVIEWER)
"""The recipients of a notice for everybody at work."""


@dataclass(frozen=True)
class RunKind:
    """A kind of run: the handler of a step, and the hooks of all features in the transactions around it.

    `handler` takes the lease, each of `resumed` the run and the actor, and each of `finished` the run.
    """

    handler: Callable[[Any], Any]
    resumed: tuple[Callable[[Any, Any], None], ...] = ()
    finished: tuple[Callable[[Any], None], ...] = ()


@dataclass(frozen=True)
class TypedWord:
    """What a reviewer types to approve: its label, and the word by the evidence. The form shows the word beside it."""

    label: Promise
    of: Callable[[Mapping[str, Any]], str]


NAMESPACE = TypedWord(_("Name of the namespace"), lambda shown: str(shown["namespace_title"]))
BUCKET = TypedWord(_("Name of the bucket"), lambda shown: str(shown["bucket"]))


@dataclass(frozen=True)
class RequestKind:
    """A kind of request for an approval.

    `decided` hears each decision in its transaction, `use` applies an approval from its page, and `evidence` derives
    the evidence of a prepared change. `why_not` takes a request and gives the reason why it cannot be approved now, or
    an empty text; `why_not_by` takes the deciding person besides. `owners` takes a request and gives the owners
    of its subject, who are told of it. One of the roles `askers` asks, starts and withdraws. With `at_once`, `use`
    follows the approval without another click. `title` takes a request, its evidence and the name of its environment
    and gives the title in the reader's language. `lines` take the evidence and give its lines on the page.
    """

    title: Callable[[Any, Mapping[str, Any], str], str]
    typed: TypedWord
    lines: Sequence[Callable[[Mapping[str, Any]], Any]] = ()
    page: "RequestPage | None" = None
    decided: Callable[[Any], None] | None = None
    why_not: Callable[[Any], str | Promise] | None = None
    use: Callable[..., Any] | None = None
    evidence: Callable[[Any], dict[str, object]] | None = None
    owners: Callable[[Any], Collection[Person]] | None = None
    why_not_by: Callable[[Any, Person], str | Promise] | None = None
    askers: tuple[Role, ...] = (Role.OPERATOR,)
    at_once: bool = False

    def has_asker(self, person: Person) -> bool:
        """Whether the person may ask for such a request, start it and withdraw it."""
        return any(person.holds(role) for role in self.askers)


@dataclass(frozen=True)
class RequestPage:
    """The page of a request's subject, and its next step after the approval. With `for_all` there is one for all."""

    name: str
    link: str | Promise
    in_time: str | Promise
    late: str | Promise
    for_all: bool = False


class SearchGroup(TextChoices):
    """The headings of the results of a search that are subjects, in the order of the page."""

    REQUESTS = "requests", pgettext_lazy("search", "Requests")
    BACKUPS = "backups", _("Backups")
    RUNS = "runs", _("Runs")
    PEOPLE = "people", _("People")


@dataclass(frozen=True)
class Searched:
    """How a search finds rows of a subject: by their number, by the `columns`, and by the title or one of `kinds`.

    `text` is what the row is called if nothing titles it. `rows` are those that are found, by default all.
    """

    group: SearchGroup
    columns: Sequence[str]
    text: str | Combinable
    environment: str = ""
    rows: Callable[[], QuerySet[Any]] | None = None
    kinds: type[TextChoices] | None = None


@dataclass(frozen=True)
class SubjectKind:
    """A kind of subject of the audit log; `page` is the name of its address, and `model` has its rows.

    `parents`: the kind of a parent -> the lookup from a row to it. `children`: the kind of a child, and the lookup from
    the child's row to this one, or a function that takes keys of this kind and gives the child's rows. `named`: how the
    column `subject` of a row names its parent, of any kind. `holds`: the lookups from a row to the names of the keys
    that its entries are about. `titled` takes the keys of rows and gives their titles in the reader's language.
    """

    title: Promise
    page: str = ""
    model: str = ""
    parents: Mapping[str, str] = field(default_factory=dict)
    children: Sequence[tuple[str, str | Callable[[Sequence[Any]], QuerySet[Any]]]] = ()
    named: Sequence[str] = ()
    holds: Sequence[str] = ()
    titled: Callable[[Collection[int]], dict[int, str]] | None = None
    searched: Searched | None = None


@dataclass(frozen=True)
class ScheduledJob:
    """The work of a schedule: `function(environment, actor)` returns a Begun, within the open transaction.

    `expression` has the due times in the team's zone, until a person changes them. With `each`, the job has a schedule
    per environment. Otherwise it has one for all, and the function gets None. With `of_subjects`, a person makes
    each schedule for a subject, which the function gets instead. `refused` is the event of a refused start. `unpaused`
    is called with the subject before a pause ends, and may refuse. `apart` is the least time between two due times, so
    that a schedule cannot use up the request budget. The overview shows the next due time of a job that is `ahead`.
    """

    label: str | Promise
    function: Callable[..., Any]
    expression: str
    each: bool = True
    apart: timedelta = timedelta(hours=1)
    of_subjects: bool = False
    refused: NotificationEvent = NotificationEvent.SCHEDULE_REFUSED
    unpaused: Callable[[str], None] | None = None
    ahead: bool = False


@dataclass(frozen=True)
class ProcedureStep:
    """One step. It is done once one of the actions `ticks` is recorded about the operation.

    With `production`, the action must be in production, or if False in another environment. An action older than the
    newest of `voided` or of `after` does not count. An `optional` step is not needed by every operation.
    """

    title: str | Promise
    text: str | Promise
    ticks: Sequence[Action]
    production: bool | None = None
    voided: Sequence[Action] = ()
    after: Sequence[Action] = ()
    optional: bool = False


@dataclass(frozen=True)
class Procedure:
    """One version of a procedure. It is never edited or removed, because entries name it."""

    name: str
    version: int
    title: str | Promise
    steps: Sequence[ProcedureStep]


class NoticeReason(TextChoices):
    """The reasons why a person cannot turn off a notice, in the order of the page."""

    DECISION = "decision", _("Four eyes: a request that nobody is told of waits until it expires.")
    ACCESS = "access", _("Roles decide who may delete: a change of them is never made unseen.")
    DEADLINE = (
        "deadline",
        _("The policy has these deadlines notified: after them a backup can be deleted or a duty is late."),
    )
    ALARM = "alarm", _("Alarms: something failed, stopped or changed outside KVOps, and a person must look at it.")


@dataclass(frozen=True)
class Notice:
    """The recipients of an event: holders of roles and the environment's channel. `delivered` hears of the delivery.

    `reason` is why it is always on, unless the database lets a person turn it off (`VOLUNTARY`). `link` takes a
    notification to a person and gives a secret link of its own, which is made when the message is sent: no row holds
    it.
    """

    roles: tuple[Role, ...] = ()
    channel: bool = False
    delivered: Callable[..., None] | None = None
    link: Callable[..., str] | None = None
    reason: NoticeReason = NoticeReason.ALARM


class OwnChange(Enum):
    """What KVOps itself did to keys, so that a scan does not report it as a change of somebody else.

    The function of a feature gives SQL for (name, at), that of EMPTIED for (prefix). It may use %(namespace)s,
    %(since)s and %(shown)s. %(since)s is the earliest moment of interest. Writes before %(shown)s are in the listing,
    unless the key was deleted.
    """

    DELETED = auto()
    WRITTEN = auto()
    REPORTED = auto()
    """The key was found gone elsewhere: a scan repeats none of them."""
    EMPTIED = auto()
    """A clean-up emptied the prefix: no key may come back under it."""


class Question(Enum):
    """A question of a package that one feature above it answers."""

    BACKUP_AGES = auto()
    """Labels and seconds since the newest verified backup, of each family that expects one."""
    KEY_EVENTS = auto()
    """(namespace, name) -> the events of a key."""
    KEY_SIZES = auto()
    """(namespace, names) -> the sizes of values, by name, as far as backups know them."""
    DELETED_KEYS = auto()
    """(words of a search, most) -> (the namespace's key, name) of keys that KVOps deleted."""
    POLICY_EDITED = auto()
    """The reason why the rules are not the approved ones; empty if they are."""
    NO_SECRET = auto()
    """(text) -> a refusal is raised if a person typed a secret."""
    RUN_HELD_UP = auto()
    """(run) -> the sentence that no worker goes on with it; empty while one does."""
    RUNS_HELD_UP = auto()
    """The same for all runs."""
    EACH_ROUND = auto()
    """Work of each round of the sweep."""
    EACH_HOUR = auto()
    """Work of the sweep that needs no worker."""


@dataclass(frozen=True)
class BackupRead:
    """Rows whose open run reads a backup, which stays until then: the lookups from a row to backup and run."""

    rows: Callable[[], QuerySet[Any]]
    backup: str
    run: str = "run"


@dataclass(frozen=True)
class DoctorCheck:
    """A check of an installation, whose function yields findings (`kvops.doctor`).

    The function takes the examined process, and an environment first if the check is `of_environment`. A check that is
    `outside` asks a service: Cloudflare, R2 or the mail server.
    """

    function: Callable[..., Iterable[Any]]
    of_environment: bool = False
    outside: bool = False


@dataclass(frozen=True, slots=True)
class BadgeCount:
    """A number beside an entry of the menu.

    `rows` takes the person and gives the rows to be counted. With `expected`, the number is how many of so many rows
    are missing. `alarm` makes the number red.
    """

    entry: str
    rows: Callable[[Person], QuerySet[Any]]
    says: Promise
    alarm: bool = True
    permission: str = "kvops.view"
    expected: int = 0


@dataclass(frozen=True, kw_only=True)
class FeatureOperation:
    """What a feature says about itself.

    `runs` has the handler of each of its kinds. `after` runs in the transaction that finishes a run, its own or another
    feature's, and `resumed` in the one that resumes it. `procedures` are versions, the oldest of a name first. `begins`
    has the actions that begin a procedure, each with the kind of its subject. A timeline leaves `quiet` actions out:
    they are many, or the page shows them in another place. `figures` are the labels of the counts of its runs, by the
    names of the audit log and of `--json`. The worker calls `looks` every few minutes for each environment. The
    report of the `doctor` has the checks in the order of the features.

    The rest is shown by the overview and the menu: `alarms` (each takes the estate), an operator's next `steps` (each
    takes the person), open `todos` and `badges`. `board` gives the table of the families, with the alarms and events
    that depend on it. `answers` are for packages that may not import this one. `states` have the looks of its own
    states, each with the name of the thing before the state.
    """

    subjects: Mapping[str, SubjectKind] = field(default_factory=dict)
    requests: Mapping[ApprovalRequest.Kind, RequestKind] = field(default_factory=dict)
    runs: Mapping[Run.Kind, Callable[[Any], Any]] = field(default_factory=dict)
    after: Mapping[Run.Kind, Callable[[Any], None]] = field(default_factory=dict)
    resumed: Mapping[Run.Kind, Callable[[Any, Any], None]] = field(default_factory=dict)
    jobs: Mapping[str, ScheduledJob] = field(default_factory=dict)
    notices: Mapping[NotificationEvent, Notice] = field(default_factory=dict)
    procedures: Sequence[Procedure] = ()
    begins: Mapping[Action, str] = field(default_factory=dict)
    quiet: Sequence[Action] = ()
    figures: Mapping[str, str | Promise] = field(default_factory=dict)
    own_changes: Mapping[OwnChange, Callable[[], str]] = field(default_factory=dict)
    reads: Sequence[BackupRead] = ()
    looks: Sequence[Callable[[Environment], object]] = ()
    doctor: Sequence[DoctorCheck] = ()
    alarms: Sequence[Callable[..., Iterable[Any]]] = ()
    steps: Sequence[Callable[[Person], Iterable[Any]]] = ()
    todos: Sequence[Callable[[], Iterable[Any]]] = ()
    badges: Sequence[BadgeCount] = ()
    board: Callable[..., Any] | None = None
    answers: Mapping[Question, Callable[..., Any]] = field(default_factory=dict)
    states: Mapping[str, Look] = field(default_factory=dict)
