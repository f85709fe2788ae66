"""Rows of the table for searches for code references, their hits and the answers to them."""

from django.db.models.functions import Now

from kvops.models import DeployedCode, DeployedLook, ReferenceAnswer, RoleGrant, User
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import HOUR, again, change
from tests.constraints.rows import EPOCH, RowAttempt, columns
from tests.make import past_the_triggers

NEVER = "a search for references is never deleted or edited"
NAMES = "search_names_its_code"
EDITED = "an answer is never edited; a later search closes a follow-up once"
LATER = "only a later search of the same code closes a follow-up"
WITH_HIT = "no follow-up is closed while a newest search has such a hit"
BY_OPERATOR = "an answer is given by an operator with an active login"
OF_KEYS = "an answer is for a family that its hit may use"
OWNED = "follow_up_has_an_owner_and_a_date"
CLOSED = "only_a_search_closes_a_follow_up"
ANSWER_CLOSED: dict[str, object] = {"closed_by_id": None, "closed_at": None}
ANSWER_FROZEN: dict[str, object] = {
    "id": 0,
    "family_id": 0,
    "hit_id": 0,
    "fingerprint": "x",
    "kind": "unrelated",
    "reason": "not read any more",
    "follow_up": "flag",
    "owner_id": 0,
    "due": "2027-01-01",
    "by_id": 0,
    "at": EPOCH,
}


def close(w: BackupsWorld, answer: ReferenceAnswer, **search: object) -> ReferenceAnswer:
    """Closed by a later search with these differences."""
    change(answer, closed_by=w.search(**search), closed_at=Now())
    return answer


def unanswered(w: BackupsWorld, **hit: object) -> ReferenceAnswer:
    """A follow-up whose hit is in a later search, with these differences, which closes it."""
    answer, later = w.answer(), w.search()
    w.hit(search=later, **hit)
    change(answer, closed_by=later, closed_at=Now())
    return answer


def elsewhere(w: BackupsWorld, **hit: object) -> ReferenceAnswer:
    """A follow-up that is done in its own environment, while production has such a hit."""
    answer = w.answer()
    w.hit(search=w.search(environment=w.production, searched_at=Now() - 2 * HOUR), **hit)
    return close(w, answer)


def overtaken(w: BackupsWorld) -> ReferenceAnswer:
    """A follow-up that a search closes which is not the newest one."""
    answer, between = w.answer(), w.search(searched_at=Now() - HOUR / 2)
    w.search()
    change(answer, closed_by=between, closed_at=Now())
    return answer


def no_longer(w: BackupsWorld, model: type[RoleGrant] | type[User], **values: object) -> ReferenceAnswer:
    """An answer of a person whose role or login ended."""
    by = w.operating()
    with past_the_triggers():
        model._default_manager.filter(person=by).update(**values)
    return w.answer(by=by)


def deployed(w: BackupsWorld) -> DeployedCode:
    """A deployed Worker."""
    return DeployedCode.objects.create(environment=w.environment, kind="worker", name="api", version="1", seen_at=Now())


def look(w: BackupsWorld) -> DeployedLook:
    """A look at the deployed code."""
    return DeployedLook.objects.create(environment=w.environment, at=Now())


REFERENCES = [
    RowAttempt(NEVER, lambda w: change(w.search(), commit="d"), "edited"),
    RowAttempt(NEVER, lambda w: w.search().delete(), "deleted"),
    RowAttempt(NEVER, lambda w: change(w.hit(), certainty="possible"), "hit edited"),
    RowAttempt(NEVER, lambda w: w.hit().delete(), "hit deleted"),
    RowAttempt("search_arrives_once", lambda w: again(w.search())),
    RowAttempt("search_has_files", lambda w: w.search(files=0)),
    RowAttempt(NAMES, lambda w: w.search(commit=""), "a checkout without commit"),
    RowAttempt(NAMES, lambda w: w.search(version="1"), "a checkout with a version"),
    RowAttempt(NAMES, lambda w: w.search(source="worker", worker="api"), "a script without version"),
    RowAttempt(NAMES, lambda w: w.search(source="worker", version="1"), "a script without name"),
    RowAttempt("an answer has the fingerprint of its hit", lambda w: w.answer(fingerprint="1" * 64)),
    RowAttempt("an answer is never deleted", lambda w: w.answer().delete()),
    RowAttempt("answer_has_a_reason", lambda w: w.answer(reason="")),
    RowAttempt("an answer has a reason that can be read", lambda w: w.answer(reason=" \r\n\t")),
    RowAttempt("an answer is of now", lambda w: w.answer(at=Now() - HOUR), "past"),
    RowAttempt("an answer is of now", lambda w: w.answer(at=Now() + HOUR), "to come"),
    RowAttempt(BY_OPERATOR, lambda w: w.answer(by=w.reviewer), "another role"),
    RowAttempt(BY_OPERATOR, lambda w: no_longer(w, RoleGrant, revoked_at=Now(), revoked_by="x"), "role revoked"),
    RowAttempt(BY_OPERATOR, lambda w: no_longer(w, User, is_active=False), "login locked"),
    RowAttempt(OF_KEYS, lambda w: w.answer(hit=w.hit(family="SETTINGS other:*")), "other keys"),
    RowAttempt(OF_KEYS, lambda w: w.answer(hit=w.hit(family="OTHER *")), "another binding"),
    RowAttempt(OF_KEYS, lambda w: w.answer(hit=w.hit(family="SETTINGS f")), "one other key"),
    RowAttempt(OWNED, lambda w: w.answer(owner=None), "no owner"),
    RowAttempt(OWNED, lambda w: w.answer(due=None), "no date"),
    RowAttempt(OWNED, lambda w: w.answer(follow_up=""), "nothing to do"),
    RowAttempt(OWNED, lambda w: w.answer(kind="unrelated"), "not a follow-up"),
    RowAttempt("a follow-up begins open", lambda w: w.answer(closed_by=w.search(), closed_at=Now())),
    *columns(EDITED, lambda w: w.answer(), ANSWER_FROZEN),
    RowAttempt(EDITED, lambda w: close(w, close(w, w.answer())), "closed twice"),
    RowAttempt(EDITED, lambda w: change(close(w, w.answer()), **ANSWER_CLOSED), "opened again"),
    RowAttempt(CLOSED, lambda w: change(w.answer(), closed_by=w.search()), "no time"),
    RowAttempt(LATER, lambda w: change(w.answer(), closed_at=Now()), "by nothing"),
    RowAttempt(LATER, lambda w: close(w, w.answer(), searched_at=Now() - 2 * HOUR), "by an earlier one"),
    RowAttempt(LATER, lambda w: close(w, w.answer(), environment=w.production), "by one of another environment"),
    RowAttempt(LATER, overtaken, "by one that is not the newest"),
    RowAttempt(
        LATER, lambda w: close(w, w.answer(), source="worker", worker="api", version="1", commit=""), "of other code"
    ),
    RowAttempt(WITH_HIT, lambda w: unanswered(w, file="b.ts"), "the same fingerprint"),
    RowAttempt(WITH_HIT, lambda w: unanswered(w, fingerprint="1" * 64), "moved"),
    RowAttempt(WITH_HIT, lambda w: close(w, w.answer(), unparsed=["b.ts", "a.ts"]), "not parsed"),
    RowAttempt(WITH_HIT, lambda w: elsewhere(w, file="b.ts"), "in production"),
    RowAttempt(WITH_HIT, lambda w: elsewhere(w, fingerprint="1" * 64), "moved in production"),
    RowAttempt(
        CLOSED,
        lambda w: close(w, w.answer(kind="unrelated", follow_up="", owner=None, due=None)),
        "not a follow-up",
    ),
    RowAttempt("deployed_once", lambda w: again(deployed(w))),
    RowAttempt("kvops_deployedlook_environment_id_key", lambda w: again(look(w))),
]
