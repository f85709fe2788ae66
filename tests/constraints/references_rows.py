"""Rows of the table for searches for code references, their hits and the answers to them."""

from django.db.models.functions import Now

from kvops.models import DeployedCode, DeployedLook, Environment, ReferenceAnswer, ReferenceSearch, RoleGrant, User
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import HOUR, again, change
from tests.constraints.rows import EPOCH, RowAttempt, columns
from tests.make import past_the_triggers

NEVER = "a search for references is never deleted or edited"
NAMES = "search_names_its_code"
EDITED = "an answer is never edited; a later search closes a follow-up once"
LATER = "only a later search of the same code that runs closes a follow-up"
FEWER = "a file with fewer files than the search before it closes no follow-up"
NOT_KNOWN = "no follow-up is closed while it is not known that all code that runs was searched"
WITH_HIT = "no follow-up is closed while a search that counts has such a hit"
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


def runs(w: BackupsWorld, environment: Environment | None = None, **code: object) -> DeployedCode:
    """Commit `d` runs in the environment, with these differences, as Cloudflare said just now."""
    DeployedLook.objects.get_or_create(environment=environment or w.environment, defaults={"at": Now()})
    site = {"environment": environment or w.environment, "kind": "pages", "name": "site", "commit": "d"}
    return DeployedCode.objects.create(**{**site, "seen_at": Now(), **code})


def later(w: BackupsWorld, **values: object) -> ReferenceSearch:
    """A search of commit `d`, with these differences."""
    return w.search(**{"commit": "d", **values})


def close(w: BackupsWorld, answer: ReferenceAnswer, **search: object) -> ReferenceAnswer:
    """Closed by a later search of code that runs, with these differences of the search."""
    if not DeployedCode.objects.exists():
        runs(w)
    change(answer, closed_by=later(w, **search), closed_at=Now())
    return answer


def half_closed(w: BackupsWorld) -> None:
    """A follow-up that a search closes at no time."""
    runs(w)
    change(w.answer(), closed_by=later(w))


def unanswered(w: BackupsWorld, search: dict[str, object], **hit: object) -> ReferenceAnswer:
    """A follow-up that a search closes, while this other one has its hit, with these differences."""
    answer = w.answer()
    w.hit(search=later(w, **search), **hit)
    return close(w, answer)


def elsewhere(w: BackupsWorld, **hit: object) -> ReferenceAnswer:
    """A follow-up that is done in its own environment, while production has such a hit."""
    return unanswered(w, {"environment": w.production, "commit": "c", "searched_at": Now() - 2 * HOUR}, **hit)


def still_runs(w: BackupsWorld) -> ReferenceAnswer:
    """A follow-up that a search closes, while another project still runs the code of the hit."""
    runs(w, name="admin", commit="c")
    runs(w)
    return close(w, w.answer())


def in_production(w: BackupsWorld) -> ReferenceAnswer:
    """A follow-up that a search of production closes, where the same commit runs."""
    runs(w, w.production)
    runs(w)
    return close(w, w.answer(), environment=w.production)


def of_a_script(w: BackupsWorld) -> ReferenceAnswer:
    """A follow-up of a checkout that the search of a script closes, which runs."""
    runs(w, kind="worker", name="api", version="1", commit="")
    return close(w, w.answer(), source="worker", worker="api", version="1", commit="")


def after_a_change(w: BackupsWorld, **look: object) -> ReferenceAnswer:
    """A follow-up that a search of the code closes that ran at the last look, with these differences of the look."""
    runs(w)
    DeployedLook.objects.update(**look)
    return close(w, w.answer())


def unseen(w: BackupsWorld) -> ReferenceAnswer:
    """A follow-up that a search closes, while code that was not searched binds the namespace."""
    answer = w.answer()
    runs(w, name="admin", commit="e", bindings={"KV": w.namespace.namespace_id})
    runs(w)
    return close(w, answer)


def without_a_look(w: BackupsWorld) -> ReferenceAnswer:
    """A follow-up that a search closes, while Cloudflare was never asked."""
    runs(w)
    DeployedLook.objects.all().delete()
    return close(w, w.answer())


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
    RowAttempt(CLOSED, half_closed, "no time"),
    RowAttempt(LATER, lambda w: change(w.answer(), closed_at=Now()), "by nothing"),
    RowAttempt(LATER, lambda w: close(w, w.answer(), searched_at=Now() - 2 * HOUR), "by an earlier one"),
    RowAttempt(LATER, in_production, "by one of another environment"),
    RowAttempt(LATER, lambda w: close(w, w.answer(), commit="e"), "by one of code that does not run"),
    RowAttempt(LATER, lambda w: close(w, w.answer(), hit_count=runs(w, dirty=True).pk), "of a changed checkout"),
    RowAttempt(LATER, of_a_script, "of other code"),
    RowAttempt(FEWER, lambda w: close(w, w.answer(), files=2, fewer_than=w.search(commit="a")), "fewer files"),
    RowAttempt(NOT_KNOWN, without_a_look, "never asked"),
    RowAttempt(NOT_KNOWN, lambda w: after_a_change(w, problem="?"), "no answer"),
    RowAttempt(NOT_KNOWN, lambda w: after_a_change(w, at=Now() - 2 * HOUR - HOUR / 60), "too long ago"),
    RowAttempt(NOT_KNOWN, unseen, "other code runs too"),
    RowAttempt(WITH_HIT, lambda w: unanswered(w, {}, file="b.ts"), "the same fingerprint"),
    RowAttempt(WITH_HIT, lambda w: unanswered(w, {}, fingerprint="1" * 64), "moved"),
    RowAttempt(WITH_HIT, lambda w: unanswered(w, {"searched_at": Now() - HOUR / 2}), "an earlier one of the commit"),
    RowAttempt(WITH_HIT, still_runs, "in code that still runs"),
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
