"""Code references of a stage: the hits of the newest search of its environment, and people's answers to them.

A hit concerns a stage if it may use keys of the stage's scope. The newest answer for the family with the fingerprint of
the hit counts, also if it was given in another environment or to an earlier search: then it is carried over. In
production, those of another environment count once the operator ticked them with the submit. Nothing is submitted or
started with a hit that has no answer. Code that is not known to be the deployed code is a risk, which the reviewer
accepts by name.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _, ngettext

from audit import log
from audit.actions import Action
from backups import policy
from backups.cleanup.stages import CleanupRefused, insist_operator, locked
from backups.models import CleanupRequest, CleanupStage
from kvops import clock, timing
from kvops.approvals.evidence import follow_ups, follow_ups_open
from kvops.models import Namespace, Person, PolicyVersion, ReferenceAnswer, ReferenceHit, ReferenceSearch
from kvops.references import deployed, store
from kvops.references.deployed import Deployed
from kvops.wording import insist_explained, say, spelled

State, Kind = CleanupStage.State, ReferenceAnswer.Kind
type Searches = Iterable[ReferenceSearch]
BEFORE_SUBMIT = (State.WAITING, State.FROZEN, State.BACKED_UP, State.VERIFIED, State.CHECKED)
RESTING_ON_ANSWERS = (State.SUBMITTED, State.APPROVED, State.DELETING)
URGENCY = ("write", "delete", "unknown", "list", "read")
"""Accesses, the most urgent first: code that writes a family brings its keys back."""
READING = ("read", "list", "unknown")
CERTAINTY = ("certain", "possible", "unknown")


@dataclass(frozen=True)
class StageHit:
    """A hit with the answer that counts; None if it has no answer."""

    hit: ReferenceHit
    answer: ReferenceAnswer | None
    certain: bool = False
    """Whether it certainly uses exactly these keys, so that it cannot be unrelated."""
    elsewhere: bool = False
    """Whether the place is in production, and its answer was given in another environment."""

    def taken(self) -> "StageHit":
        """The hit without an answer that it contradicts: the answer may be of a place that was less certain."""
        wrong = self.certain and self.answer is not None and self.answer.kind == Kind.UNRELATED
        return replace(self, answer=None) if wrong else self

    @property
    def reads_on(self) -> bool:
        """Whether the code reads the keys until a follow-up is done."""
        return self.answer is not None and self.answer.kind == Kind.FOLLOW_UP and self.hit.access in READING

    @property
    def carried_over(self) -> bool:
        """Whether the answer was given to another search, such as the one of another environment."""
        return self.answer is not None and self.answer.hit.search_id != self.hit.search_id

    @property
    def place(self) -> str:
        """The file and the line."""
        return f"{self.hit.file}:{self.hit.line}"


def search_page(environment: str) -> str:
    """The address of the page of an environment's searches."""
    return reverse("references-environment", args=[environment])


def search_of(stage: CleanupStage) -> ReferenceSearch | None:
    """The search that the stage rests on; before its submit, the newest search of its environment."""
    if stage.state in BEFORE_SUBMIT or stage.search_id is None:
        return store.newest(stage.environment)
    return stage.search


def with_others(search: ReferenceSearch | None) -> list[ReferenceSearch]:
    """The search, the newest recent one of each other code, and those of the same commit that contradict one of them.

    Without them a newer search of one Worker would hide the hits in another one, and a file without hits those of an
    earlier search.
    """
    if search is None:
        return []
    newest = store.newest_of_each_code(search.environment_id)
    others = (one for one in newest if one.worker != search.worker or store.contradict(one, search))
    return [search, *(one for one in others if one.pk != search.pk)]


def hits_of(stage: CleanupStage, searches: Searches, known: Deployed | None = None) -> list[StageHit]:
    """The hits of the searches that concern the stage, with their answers: unanswered first, then writers first."""
    request, namespace = stage.request, stage.namespace
    exact = request.exact or request.family.exact
    bindings = {namespace.binding, *_names_in_the_code(namespace, known)}
    rows = store.hits_of(searches, bindings, request.prefix, exact=exact).defer("context", "text")
    hits = _each_place_once(list(rows), searches)
    over = stage.state not in (*BEFORE_SUBMIT, *RESTING_ON_ANSWERS)
    answers = _answers(request.family_id, {hit.fingerprint for hit in hits}, closed=over)
    found = (
        StageHit(hit, given, certain=_is_certain(hit, bindings, request), elsewhere=_is_elsewhere(given, stage))
        for hit in hits
        for given in [answers.get(hit.fingerprint)]
    )
    return sorted((one if over else one.taken() for one in found), key=_urgent_first)


def _is_elsewhere(answer: ReferenceAnswer | None, stage: CleanupStage) -> bool:
    given_in = answer.hit.search.environment_id if answer else stage.environment_id
    return stage.environment.production and given_in != stage.environment_id


def _is_certain(hit: ReferenceHit, bindings: Collection[str], request: CleanupRequest) -> bool:
    """Whether the place certainly uses keys of exactly the family, or of the clean-up."""
    binding, _space, pattern = hit.family.partition(" ")
    stem = pattern.removesuffix("*")
    mine = stem == request.family.pattern or stem.startswith(request.prefix)
    return hit.certainty == ReferenceHit.Certainty.CERTAIN and binding in bindings and mine


def _each_place_once(hits: Sequence[ReferenceHit], searches: Searches) -> Sequence[ReferenceHit]:
    """The hits without those that an earlier search of the same commit found as well."""
    code = {one.pk: (place, one.commit or one.pk) for place, one in enumerate(searches)}
    if len({commit for _place, commit in code.values()}) == len(code):
        return hits
    once: dict[tuple[object, ...], ReferenceHit] = {}
    for hit in sorted(hits, key=lambda one: code[one.search_id]):
        what = (hit.file, hit.line, hit.column, hit.family, hit.access, hit.certainty, hit.fingerprint)
        once.setdefault((code[hit.search_id][1], *what), hit)
    return list(once.values())


def _names_in_the_code(namespace: Namespace, known: Deployed | None) -> set[str]:
    """The names under which deployed code binds the namespace."""
    return {
        name
        for code in deployed.using(namespace, known)
        for name, bound in code.bindings.items()
        if bound == namespace.namespace_id
    }


def _answers(family: int, fingerprints: Collection[str], *, closed: bool) -> dict[str, ReferenceAnswer]:
    """The newest answer by fingerprint.

    A closed follow-up is none, because the hit was gone and is there again. It counts only for a stage after its
    deletion (`closed`), whose hits are those of then.
    """
    rows = (
        ReferenceAnswer.objects.filter(family=family, fingerprint__in=fingerprints)
        .select_related("hit__search__environment", "by", "owner")
        .defer("hit__context", "hit__text")
        .order_by("pk")
    )
    newest = {answer.fingerprint: answer for answer in rows}
    return {fingerprint: answer for fingerprint, answer in newest.items() if closed or answer.closed_by_id is None}


def _urgent_first(found: StageHit) -> tuple[object, ...]:
    hit = found.hit
    urgency = (URGENCY.index(hit.access), CERTAINTY.index(hit.certainty))
    return (found.answer is not None, *urgency, hit.file, hit.line, hit.pk)


def follow_ups_of(found: Iterable[StageHit]) -> dict[str, object]:
    """The open follow-ups of these hits, as evidence has them: an answer to several hits counts once."""
    return follow_ups(list(dues_of(found).values()))


def dues_of(found: Iterable[StageHit]) -> dict[int, date]:
    """The due days of the open follow-ups of these hits, by the ids of their answers."""
    answers = (one.answer for one in found)
    return {answer.pk: answer.due for answer in answers if answer and answer.due and answer.closed_by_id is None}


def from_elsewhere(found: Iterable[StageHit]) -> int:
    """The number of answers in production that were given in another environment: the operator ticks them."""
    return sum(one.elsewhere and one.answer is not None for one in found)


def unanswered(found: Iterable[StageHit]) -> int:
    """The number of hits without an answer."""
    return sum(one.answer is None for one in found)


def missing(stage: CleanupStage, search: ReferenceSearch | None) -> str:
    """The reason why the search is not enough for the stage, with the way on; empty if it is."""
    environment = stage.environment
    facts = {"name": environment.name, "page": search_page(environment.slug)}
    if search is None:
        return say(_("The code of %(name)s was not searched for these keys yet. Search it first: %(page)s"), **facts)
    age = -clock.seconds_until(search.searched_at)
    if age > timing.REFERENCES_FRESH:
        return say(_("The code of %(name)s was searched more than 7 days ago. Search it again: %(page)s"), **facts)
    if age < -timing.SKEW:
        return say(_("The newest search of the code of %(name)s has a time in the future: %(page)s"), **facts)
    if not _looked_for(stage.request, search):
        return say(
            _("The code of %(name)s was searched before the policy had %(family)s. Search it again: %(page)s"),
            family=stage.request.family,
            **facts,
        )
    return ""


def _looked_for(request: CleanupRequest, search: ReferenceSearch) -> bool:
    """Whether the policy at the time of the search had the family, so that the search looked for its keys."""
    then = PolicyVersion.objects.filter(applied_at__lte=search.searched_at).order_by("-number").first()
    return then is not None and f"family {request.binding} {request.family}" in policy.rules_of(then.definition)


@dataclass(frozen=True)
class StageReferences:
    """The code references of a stage: its search, the hits with their answers, and the reason why it needs a search."""

    search: ReferenceSearch | None
    found: Sequence[StageHit]
    missing: str
    searches: Sequence[ReferenceSearch] = ()
    """The search, and the newest of each other code."""
    known: Deployed | None = None
    """The deployed code."""

    @classmethod
    def of(cls, stage: CleanupStage) -> "StageReferences":
        """As they are now. A submitted stage keeps its search, however old it gets."""
        search = search_of(stage)
        why = missing(stage, search) if stage.state in BEFORE_SUBMIT else ""
        searches, known = with_others(search), Deployed(stage.environment_id)
        return cls(search, hits_of(stage, searches, known), why, searches, known)

    @property
    def unanswered(self) -> int:
        """The number of hits without an answer."""
        return unanswered(self.found)

    @property
    def carried_over(self) -> int:
        """The number of answers that were given to another search."""
        return sum(one.carried_over for one in self.found)

    @property
    def from_elsewhere(self) -> int:
        """The number of answers in production that were given in another environment."""
        return from_elsewhere(self.found)

    @property
    def in_words(self) -> str:
        """The number of hits, the searched code, the answers that were carried over, and the open follow-ups."""
        if self.search is None:
            return ""
        note = ngettext("%(n)s place at %(commit)s", "%(n)s places at %(commit)s", len(self.found)) % {
            "n": spelled(len(self.found)),
            "commit": self.search.commit[:12] or f"{self.search.worker} {self.search.version[:12]}",
        }
        carried = ngettext("%(n)s answer carried over", "%(n)s answers carried over", self.carried_over)
        over = carried % {"n": spelled(self.carried_over)} if self.carried_over else ""
        return " · ".join(filter(None, [note, over, self.follow_ups]))

    @property
    def follow_ups(self) -> str:
        """The open follow-ups; empty without one."""
        return follow_ups_open({"follow_ups": follow_ups_of(self.found)})

    @property
    def wanting(self) -> str:
        """What is missing: a search, or answers."""
        left = ngettext("%(n)s place has no answer", "%(n)s places have no answer", self.unanswered)
        return self.missing or left % {"n": spelled(self.unanswered)}

    @property
    def done(self) -> bool:
        """Whether the stage needs neither a search nor an answer."""
        return self.search is not None and not self.missing and not self.unanswered


def lacking(stage: CleanupStage) -> str:
    """The reason why the newest search or its answers are not enough for a deletion; empty if they are."""
    search = store.newest(stage.environment)
    if why := missing(stage, search):
        return why
    if n := unanswered(hits_of(stage, with_others(search))):
        page = reverse("backups:stage_references", args=[stage.pk])
        return say(_("Code references without an answer: %(n)s. Answer them first: %(page)s"), n=n, page=page)
    return ""


def insist_references(stage: CleanupStage) -> None:
    """Raise CleanupRefused unless the newest search is recent and a person answered each of its hits."""
    if why := lacking(stage):
        raise CleanupRefused(why)


def insist_ticked(stage: CleanupStage, *, ticked: bool) -> None:
    """Raise CleanupRefused if answers of another environment would count in production, and nobody ticked them."""
    if not ticked and (n := StageReferences.of(stage).from_elsewhere):
        page = reverse("backups:stage_references", args=[stage.pk])
        sentence = _("Answers carried over from another environment: %(n)s. Tick that they hold here, too: %(page)s")
        raise CleanupRefused(say(sentence, n=n, page=page))


def answer(
    stage: CleanupStage,
    *,
    hits: Collection[int],
    kind: str,
    reason: str,
    by: Person,
    follow_up: str = "",
    owner: Person | None = None,
    due: date | None = None,
) -> None:
    """Record a person's answer to these hits of the newest search. Raises CleanupRefused."""
    with log.transaction():
        insist_operator(by)
        mine = locked(stage)
        _insist_open(mine)
        if kind not in Kind.values:
            raise CleanupRefused(_("Choose an answer."))
        insist_explained(reason, CleanupRefused, _("Give the reason for your answer: the reviewer reads it."))
        todo = {"follow_up": follow_up, "owner": owner, "due": due} if kind == Kind.FOLLOW_UP else {}
        if todo:
            _insist_follow_up(follow_up, owner, due)
        chosen = [one for one in hits_of(mine, with_others(store.newest(mine.environment))) if one.hit.pk in set(hits)]
        if not chosen or len(chosen) != len(set(hits)):
            raise CleanupRefused(_("These hits are not of the newest search for these keys. Load the page again."))
        if not todo:
            _insist_no_follow_up(chosen)
        insist_may_be(kind, chosen)
        ReferenceAnswer.objects.bulk_create(
            ReferenceAnswer(
                family=mine.request.family,
                hit=one.hit,
                fingerprint=one.hit.fingerprint,
                kind=kind,
                reason=reason.strip(),
                by=by,
                **todo,
            )
            for one in chosen
        )
        log.record(
            Action.REFERENCES_ANSWERED,
            actor=by.actor,
            environment=mine.environment.slug,
            subject=f"stage:{mine.pk}",
            subject_label=str(mine)[:200],
            details={
                "hits": len(chosen),
                "places": [one.place[:300] for one in chosen[:20]],
                "kind": kind,
                "reason": reason.strip()[:500],
                **({"follow_up": follow_up, "owner": str(owner), "due": str(due)} if todo else {}),
            },
        )


def _insist_open(stage: CleanupStage) -> None:
    if not stage.request.is_open:
        raise CleanupRefused(_("The clean-up is over."))
    if stage.state not in BEFORE_SUBMIT or stage.request.stages.filter(state__in=RESTING_ON_ANSWERS).exists():
        raise CleanupRefused(_("A stage was already submitted with the earlier answers. Withdraw its request first."))


def _insist_no_follow_up(chosen: Sequence[StageHit]) -> None:
    """Policy 5.4: a follow-up ends with the place in the code. A new follow-up changes its owner or its date."""
    open_ones = [one.place for one in chosen if one.answer is not None and one.answer.kind == Kind.FOLLOW_UP]
    if open_ones:
        raise CleanupRefused(
            say(
                _(
                    "%(place)s has an open follow-up, which only a later search without the place closes."
                    " Choose the other places, or give a new follow-up."
                ),
                place=open_ones[0],
            )
        )


def insist_may_be(kind: str, chosen: Iterable[StageHit]) -> None:
    """Raise CleanupRefused if a place that certainly uses exactly these keys is called unrelated."""
    if uses := [one.place for one in chosen if one.certain and kind == Kind.UNRELATED]:
        sentence = _("%(place)s certainly uses exactly these keys, so it is not unrelated. Give another answer.")
        raise CleanupRefused(say(sentence, place=uses[0]))


def _insist_follow_up(follow_up: str, owner: Person | None, due: date | None) -> None:
    if follow_up not in ReferenceAnswer.FollowUp.values or due is None:
        raise CleanupRefused(_("A follow-up needs the change to make, an owner and a due date."))
    if owner is None or not owner.logins.filter(is_active=True).exists():
        raise CleanupRefused(_("The owner of a follow-up needs an active account."))
    if due < timezone.localdate(clock.now()):
        raise CleanupRefused(_("The due date is in the past."))
