"""Questions about the code that is deployed: which of it binds a namespace, and whether it is the searched code.

The rows are those of the newest look (`kvops.references.look`). Code that cannot be told is *not known*, and that is
never good: no look, a look with a problem, an old look, a deployment without a commit or from a changed checkout, and
a namespace that no deployed code binds. Previews of a Pages project that bind a namespace of production run code of any
branch, so their code is not known. Code in other accounts and programs that use the REST API cannot be seen here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from django.db.models import F
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from kvops import timing
from kvops.models import PREVIEW, DeployedCode, DeployedLook, Environment, Namespace, ReferenceSearch
from kvops.wording import moment, say, translated

SAME = "same"
OTHER = "other"
NOT_KNOWN = "not_known"


@dataclass(frozen=True)
class DeployedState:
    """Whether the searched code is the running code: `SAME`, `OTHER` or `NOT_KNOWN`, with the reasons if not `SAME`."""

    kind: str
    reasons: Sequence[str] = ()

    @property
    def same(self) -> bool:
        """Whether the searched code is what runs. Code that is not known is not the same."""
        return self.kind == SAME


class Deployed:
    """The deployed code of environments by their newest looks; each fact is read once, when it is first asked for."""

    def __init__(self, *environments: int) -> None:
        self._environments = environments

    @cached_property
    def _aged(self) -> Mapping[int, tuple[DeployedLook, timedelta]]:
        found = DeployedLook.objects.filter(environment__in=self._environments).annotate(age=Now() - F("at"))
        return {look.environment_id: (look, look.age) for look in found}

    def look(self, environment: int) -> DeployedLook | None:
        """The newest look at an environment."""
        return self._aged[environment][0] if environment in self._aged else None

    def is_older(self, environment: int, seconds: float) -> bool:
        """Whether the newest look is older than so many seconds."""
        return self._aged[environment][1].total_seconds() > seconds

    @cached_property
    def codes(self) -> Sequence[DeployedCode]:
        """The code that is deployed, in the order in which it is shown."""
        found = DeployedCode.objects.filter(environment__in=self._environments)
        return list(found.order_by("kind", "name", "version"))


def using(namespace: Namespace, known: Deployed | None = None) -> list[DeployedCode]:
    """The deployed code that binds the namespace, by the newest look."""
    mine, pk = namespace.namespace_id, namespace.environment_id
    codes = (known or Deployed(pk)).codes
    return [code for code in codes if code.environment_id == pk and mine in code.bindings.values()]


def not_known(environment: Environment, known: Deployed | None = None) -> str:
    """The reason why the deployed code of the environment is not known; empty if the newest look can be relied on."""
    known = known or Deployed(environment.pk)
    look = known.look(environment.pk)
    if look is None:
        return say(_("Cloudflare was never asked for the deployed code of %(environment)s."), environment=environment)
    if look.problem:
        return say(_("The deployed code is not known: %(problem)s"), problem=translated(look.problem))
    if known.is_older(environment.pk, timing.DEPLOYED_KNOWN):
        sentence = _(
            "Cloudflare was last asked for the deployed code at %(at)s. Work that rests on it asks again first and"
            " waits for the answer."
        )
        return say(sentence, at=moment(look.at))
    return ""


def is_due(environment: Environment) -> bool:
    """Whether Cloudflare is asked before work rests on the deployed code: it is not known, or the look is not new."""
    known = Deployed(environment.pk)
    look = known.look(environment.pk)
    return look is None or bool(look.problem) or known.is_older(environment.pk, timing.DEPLOYED_FRESH)


def state(
    search: ReferenceSearch, namespace: Namespace, *others: ReferenceSearch, known: Deployed | None = None
) -> DeployedState:
    """Whether all deployed code that binds the namespace was searched, by this search or one of the others.

    A search of a checkout covers the deployments of its commit; a search of a deployed script covers its version.
    """
    known = known or Deployed(namespace.environment_id)
    if reason := not_known(namespace.environment, known):
        return DeployedState(NOT_KNOWN, [reason])
    codes = using(namespace, known)
    if not codes:
        reason = say(_("No deployed Worker or Pages project binds %(namespace)s."), namespace=namespace)
        return DeployedState(NOT_KNOWN, [reason])
    searches = [one for one in (search, *others) if one.environment_id == namespace.environment_id]
    found = [one for code in codes for one in _differences(code, searches)]
    kinds = {kind for kind, _reason in found}
    kind = SAME if not found else OTHER if OTHER in kinds else NOT_KNOWN
    return DeployedState(kind, [reason for _kind, reason in found])


def searches(namespace: Namespace) -> list[ReferenceSearch]:
    """The searches that count for the namespace: the newest of a checkout, and the newest of each deployed script.

    A script is left out if the search of the checkout covers it. All hits of all these searches concern the namespace.
    """
    made = ReferenceSearch.objects.filter(environment=namespace.environment_id).order_by("-searched_at", "-pk")
    found = list(made.exclude(source=ReferenceSearch.Source.WORKER)[:1])
    for code in using(namespace):
        if code.kind == DeployedCode.Kind.WORKER and not any(covers(one, code) for one in found):
            of_script = made.filter(source=ReferenceSearch.Source.WORKER, worker=code.name)
            found += [*of_script.filter(version=code.version, etag=code.etag)[:1]] or [*of_script[:1]]
    return found


def covers(search: ReferenceSearch, code: DeployedCode) -> bool:
    """Whether the search searched exactly this deployed code."""
    if search.environment_id != code.environment_id:
        return False
    if search.source == ReferenceSearch.Source.WORKER:
        mine = (DeployedCode.Kind.WORKER, search.worker, search.version, search.etag)
        return mine == (code.kind, code.name, code.version, code.etag)
    return bool(code.commit) and not code.dirty and search.commit == code.commit


def _differences(code: DeployedCode, searches: Sequence[ReferenceSearch]) -> Iterator[tuple[str, str]]:
    """`OTHER` or `NOT_KNOWN` with the reason, if none of the searches covers the code."""
    if any(covers(search, code) for search in searches):
        return
    worker = code.kind == DeployedCode.Kind.WORKER
    of_version = [search for search in searches if worker and search.worker == code.name]
    of_commit = [search for search in searches if search.commit]
    if of_version:
        yield OTHER, _other(code, code.version, ", ".join(search.version for search in of_version))
    elif code.version == PREVIEW:
        yield NOT_KNOWN, say(_("%(code)s use production, with code of any branch. Take the binding away."), code=code)
    elif code.dirty:
        yield NOT_KNOWN, say(_("%(code)s was deployed from a checkout with changes that no commit has."), code=code)
    elif code.commit and of_commit:
        yield OTHER, _other(code, code.commit, ", ".join(search.commit for search in of_commit))
    elif worker:
        yield NOT_KNOWN, say(_("Cloudflare names no commit of %(code)s. Search its deployed script."), code=code)
    elif code.commit:
        yield OTHER, say(_("%(code)s runs %(commit)s, which was not searched."), code=code, commit=code.commit)
    else:
        yield NOT_KNOWN, say(_("Cloudflare names no commit of %(code)s."), code=code)


def _other(code: DeployedCode, running: str, searched: str) -> str:
    return say(
        _("%(code)s runs %(running)s; searched was %(searched)s."), code=code, running=running, searched=searched
    )
