"""Are the keys still read? The traces of the Workers that bind a namespace are asked for calls on its keys.

The counts and the newest times are stored, never the names of keys. A call within the days that Cloudflare keeps has to
be answered by a person; the answer holds for that version of the Worker. The absence of calls proves something only if
every deployed code that binds the namespace is a Worker with whole traces, of which other calls were seen. In any other
case the query has a problem and is not known, which is never good.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from kvops import clock, timing
from kvops.cloudflare import ApiError, AuthError, CloudflareError, KvSpans
from kvops.connections.calls import Calls
from kvops.models import DeployedCode, Environment, Namespace, Person, ReferenceHit, Role, StillRead, TraceQuery
from kvops.names import storable
from kvops.references import deployed
from kvops.refusals import Refused
from kvops.wording import english, insist_explained, moment, say, translated

logger = logging.getLogger(__name__)

ACCESS = {
    "kv_get": ReferenceHit.Access.READ,
    "kv_getWithMetadata": ReferenceHit.Access.READ,
    "kv_put": ReferenceHit.Access.WRITE,
    "kv_delete": ReferenceHit.Access.DELETE,
    "kv_list": ReferenceHit.Access.LIST,
}
KEPT = {Environment.Plan.FREE: timedelta(days=3), Environment.Plan.PAID: timedelta(days=7)}
"""The time for which Cloudflare keeps traces, by plan."""

NOT_LOOKED = gettext_noop("The deployed code is not known. Look at it first.")
NOT_WHOLE = gettext_noop("Not all code that binds the namespace is a Worker with traces on and without sampling.")
SILENT = gettext_noop("A Worker left no trace of any call of this namespace, so it proves nothing about these keys.")
FORBIDDEN = gettext_noop("The read token may not read traces. Give it the permission Workers Observability.")
NO_TOKEN = gettext_noop("Cloudflare does not know the read token (401). Store a valid one where read_token points.")
ODD = gettext_noop("Cloudflare did not answer the query of the traces as documented. Ask again later.")


class TracesRefused(Refused):
    """The traces cannot be asked, or the read not be answered, this way; the message gives the reason."""


def ask(namespace: Namespace, prefix: str, *, by: Person, keep: Callable[[], None] = lambda: None) -> TraceQuery:
    """Ask the traces for calls on keys under the prefix, and store the outcome. Raises TracesRefused."""
    if not by.holds(Role.OPERATOR):
        raise TracesRefused(_("Only an operator can do this."))
    if not storable(prefix):
        raise TracesRefused(_("Give the beginning of the names of the keys."))
    until = clock.now()
    window = (until - KEPT[Environment.Plan(namespace.environment.plan)], until)
    codes = deployed.using(namespace)
    workers = [code for code in codes if code.kind == DeployedCode.Kind.WORKER]
    found: list[KvSpans] = []
    problem = NOT_LOOKED if deployed.not_known(namespace.environment) or not codes else ""
    if workers:
        try:
            found, seen = _spans(namespace, workers, prefix, window, keep)
        except CloudflareError as error:
            logger.warning("The traces of %s do not answer: %s", namespace, error)
            problem = problem or _problem(error)
        else:
            problem = problem or _gaps(codes, seen)
    else:
        problem = problem or NOT_WHOLE
    with log.transaction():
        query, _created = TraceQuery.objects.update_or_create(
            namespace=namespace,
            prefix=prefix,
            defaults={"since": window[0], "until": until, "problem": problem, "by": by},
        )
        counted = _store(query, found)
        _record(Action.TRACES_ASKED, query, by, {"calls": counted})
    return query


def _spans(
    namespace: Namespace,
    workers: Sequence[DeployedCode],
    prefix: str,
    window: tuple[datetime, datetime],
    keep: Callable[[], None],
) -> tuple[list[KvSpans], set[str]]:
    """The calls on keys under the prefix, and the Workers of which any call of the namespace was seen."""
    names = {code.name for code in workers}
    bindings = {(code.name, name) for code in workers for name in _names(code, namespace)}
    with Calls(namespace.environment, keep) as calls:
        every = calls.run(lambda: calls.client.kv_spans(names, *window))
        keyed = calls.run(lambda: calls.client.kv_spans(names, *window, prefix=prefix))
    ours = [one for one in every if (one.script, one.binding) in bindings]
    listed = [one for one in ours if one.span == "kv_list" and _overlap(one.prefix, prefix)]
    named = [one for one in keyed if (one.script, one.binding) in bindings and one.span != "kv_list"]
    return named + listed, {one.script for one in ours}


def _names(code: DeployedCode, namespace: Namespace) -> list[str]:
    return [name for name, identifier in code.bindings.items() if identifier == namespace.namespace_id]


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _problem(error: CloudflareError) -> str:
    if isinstance(error, AuthError) and error.token_unknown:
        return NO_TOKEN
    status = error.status if isinstance(error, ApiError) else None
    forbidden = isinstance(error, AuthError) or status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    return FORBIDDEN if forbidden else ODD


def _gaps(codes: Collection[DeployedCode], seen: set[str]) -> str:
    if not all(code.kind == DeployedCode.Kind.WORKER and code.traces for code in codes):
        return NOT_WHOLE
    return "" if {code.name for code in codes} <= seen else SILENT


def _store(query: TraceQuery, found: Sequence[KvSpans]) -> int:
    """Keep the calls that were told, and return their number. Without an answer the calls of the last one stay."""
    counts: dict[tuple[str, str, str], tuple[int, float]] = {}
    for one in found:
        key = (one.script, one.version, str(ACCESS[one.span]))
        count, last = counts.get(key, (0, 0.0))
        counts[key] = (count + one.count, max(last, one.last))
    if query.problem not in {FORBIDDEN, NO_TOKEN, ODD, NOT_LOOKED}:
        gone = [read.pk for read in query.reads.all() if (read.worker, read.version, read.access) not in counts]
        query.reads.filter(pk__in=gone).delete()
    for (worker, version, access), (count, last) in counts.items():
        query.reads.update_or_create(
            worker=worker,
            version=version,
            access=access,
            defaults={"count": count, "last_at": datetime.fromtimestamp(last, UTC)},
        )
    return sum(count for count, _last in counts.values())


def answer(read: StillRead, *, reason: str, by: Person) -> None:
    """Answer a read: why it does no harm that this version uses the keys. Raises TracesRefused."""
    reason = reason.strip()[:2000]
    if not by.holds(Role.OPERATOR):
        raise TracesRefused(_("Only an operator can do this."))
    if not storable(reason):
        raise TracesRefused(_("Give the reason."))
    insist_explained(reason, TracesRefused, _("Give the reason."))
    with log.transaction():
        StillRead.objects.filter(pk=read.pk).update(answer=reason, answered_by=by, answered_at=Now())
        _record(Action.STILL_READ_ANSWERED, read.query, by, {"read": str(read), "version": read.version})


def unanswered(namespace: Namespace, prefix: str) -> list[StillRead]:
    """The traced calls on keys under the prefix that no person answered."""
    found = StillRead.objects.filter(query__namespace=namespace, answered_at=None).select_related("query")
    return [read for read in found.order_by("pk") if read.query.prefix.startswith(prefix)]


def not_known(namespace: Namespace, prefix: str) -> str:
    """The reason why it is not known whether the keys are still used; empty if the newest query tells it."""
    query = TraceQuery.objects.filter(namespace=namespace, prefix=prefix).first()
    if query is None:
        return say(_("The traces were never asked whether keys under %(prefix)s are used."), prefix=prefix)
    if query.problem:
        return say(_("Whether the keys are still used is not known: %(problem)s"), problem=translated(query.problem))
    if clock.seconds_until(query.until) < -timing.TRACES_KNOWN:
        return say(_("The traces were last asked at %(at)s. Ask again."), at=moment(query.until))
    return ""


def _record(action: Action, query: TraceQuery, by: Person, details: dict[str, str | int]) -> None:
    log.record(
        action,
        actor=by.actor,
        environment=query.namespace.environment.slug,
        subject=f"namespace:{query.namespace_id}",
        subject_label=str(query.namespace),
        details={"prefix": query.prefix, "problem": english(query.problem), **details},
    )
