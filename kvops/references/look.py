"""Looks at deployed code: Cloudflare is asked which code is deployed in an environment, and what it binds.

A look asks for the names of all Workers and Pages projects, for the active deployment of each Worker, and for each
project. A version of a Worker never changes, so its bindings are asked for once. The rows are replaced in one
transaction. If Cloudflare refuses or answers oddly, the look keeps the rows and names the problem: the code is then
not known (`kvops.references.deployed`). Follow-ups whose search is now known to be of deployed code are closed.

No schedule asks: work that rests on the deployed code does, each time (`ask_when_due`), and waits for the answer.
"""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus

from django.utils.translation import gettext_noop

from audit import log
from audit.actions import Action
from kvops import clock, timing
from kvops.cloudflare import (
    ApiError,
    AuthError,
    ConfigurationError,
    Deployment,
    PagesProject,
    RateLimited,
    TransportError,
    WorkerVersion,
)
from kvops.connections.calls import Calls
from kvops.models import PREVIEW, DeployedCode, DeployedLook, Environment, Person, Run
from kvops.references import deployed, follow_ups
from kvops.runs import driver as run_driver
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Done

logger = logging.getLogger(__name__)

NO_WORKERS = gettext_noop("The read token may not read Workers. Give it the permission Workers Scripts Read.")
NO_PAGES = gettext_noop("The read token may not read Pages projects. Give it the permission Pages Read.")
NO_TOKEN = gettext_noop("The read token is not there or cannot be used. The log of the worker has the reason.")
ODD = gettext_noop("Cloudflare's answer was not as documented. The log of the worker has it.")


class _Unknown(Exception):
    """The deployed code cannot be told; the message is one of the problems above."""


def create(environment: Environment, *, actor: log.Actor, person: Person | None = None) -> Run:
    """The run of a look, in the caller's transaction. Raises run_driver.AlreadyOpen."""
    return run_driver.create(
        Run.Kind.LOOK,
        subject=f"environment:{environment.pk}",
        label=str(environment),
        actor=actor,
        person=person,
        environment=environment,
    )


start = log.transaction()(create)
"""`create` in a transaction of its own."""


def under_way(environment: Environment) -> Run | None:
    """The look at the environment that has not ended."""
    return Run.objects.open().filter(kind=Run.Kind.LOOK, environment=environment).first()


def work(lease: Lease) -> Done:
    """Look at the deployed code of the run's environment."""
    environment = lease.run.environment
    if environment is None:
        raise TypeError(lease.run)

    def sent(calls: int) -> None:
        with lease.checkpoint(no_further=True, calls=lease.run.calls + calls):
            pass

    found = look(environment, lease.keep, sent)
    return Done({"problem": found.problem} if found.problem else {"deployed": environment.deployed.count()})


def ask_when_due(environment: Environment, keep: Callable[[], None] | None = None) -> bool:
    """Ask Cloudflare for the deployed code if it was not asked within the last minute; whether it answered.

    Called outside a transaction. The last look stays if no answer comes. `keep` as for `look`; without it, a person
    waits, and asking ends after the time of one request.
    """
    if not deployed.is_due(environment):
        return True
    try:
        look(environment, keep or _patience())
    except (RateLimited, TransportError, ApiError) as error:
        logger.warning("Cloudflare did not answer which code is deployed in %s: %s", environment.slug, error)
        return False
    return True


def _patience() -> Callable[[], None]:
    """A `keep` that ends the look after the time of one request."""
    until = time.monotonic() + timing.REQUEST_TIMEOUT

    def keep() -> None:
        if time.monotonic() > until:
            raise TransportError(gettext_noop("The look takes too long."), outcome_unknown=False)

    return keep


def look(
    environment: Environment, keep: Callable[[], None] = lambda: None, sent: Callable[[int], None] = lambda _calls: None
) -> DeployedLook:
    """Ask Cloudflare for the deployed code, and store it.

    `keep` is called about once a second meanwhile, `sent` with the number of requests once Cloudflare answered.

    Raises RateLimited, TransportError and ApiError with a server error: these pass, and the newest look ages.
    """
    problem, rows = "", list[DeployedCode]()
    try:
        rows = _ask(environment, keep, sent)
    except _Unknown as unknown:
        logger.warning("The deployed code of %s is not known: %s", environment.slug, unknown.__cause__)
        problem = str(unknown)
    with log.transaction():
        # As a search that is stored, so that each sees the other.
        list(Environment.objects.select_for_update(no_key=True).order_by("pk"))
        if not problem:
            _store(environment, rows)
        found, _created = DeployedLook.objects.update_or_create(
            environment=environment, defaults={"at": clock.now(), "problem": problem}
        )
        if closed := follow_ups.close():
            log.record(
                Action.REFERENCES_ANSWERED,
                actor=log.Actor.system("references"),
                details={"kind": "closed", "follow_ups_closed": closed},
                environment=environment.slug,
                subject=f"environment:{environment.slug}",
                subject_label=environment.name,
            )
    return found


def _store(environment: Environment, rows: list[DeployedCode]) -> None:
    columns = ["deployment", "etag", "commit", "dirty", "bindings", "deployed_at", "seen_at"]
    unique = ["environment", "kind", "name", "version"]
    DeployedCode.objects.bulk_create(rows, update_conflicts=True, update_fields=columns, unique_fields=unique)
    seen = {(row.kind, row.name, row.version) for row in rows}
    gone = [
        pk
        for pk, *key in DeployedCode.objects.filter(environment=environment).values_list(
            "pk", "kind", "name", "version"
        )
        if tuple(key) not in seen
    ]
    DeployedCode.objects.filter(pk__in=gone).delete()


def _ask(environment: Environment, keep: Callable[[], None], sent: Callable[[int], None]) -> list[DeployedCode]:
    """The deployed code as Cloudflare tells it now. Raises _Unknown."""
    before = list(DeployedCode.objects.filter(environment=environment))
    try:
        with Calls(environment, keep) as calls:
            try:
                workers = _told(NO_WORKERS, lambda: _workers(environment, calls, before))
                return workers + _told(NO_PAGES, lambda: _projects(environment, calls, before))
            finally:
                sent(calls.client.calls)
    except ConfigurationError as error:
        raise _Unknown(NO_TOKEN) from error


def _told[T](forbidden: str, ask: Callable[[], T]) -> T:
    """What Cloudflare answers, or the problem. Errors that pass are raised as they are."""
    try:
        return ask()
    except AuthError as error:
        raise _Unknown(NO_TOKEN if error.token_unknown else forbidden) from error
    except ApiError as error:
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        raise _Unknown(ODD) from error


def _workers(environment: Environment, calls: Calls, before: list[DeployedCode]) -> list[DeployedCode]:
    client, now = calls.client, clock.now()
    names = calls.run(client.scripts)
    deployed = dict(zip(names, calls.all([partial(client.deployment, name) for name in names]), strict=True))
    active = {name: deployment for name, deployment in deployed.items() if deployment is not None}
    known = {(code.name, code.version): code for code in before if code.kind == DeployedCode.Kind.WORKER}
    versions = _versions(calls, active, known)
    # Also of code without our bindings: a follow-up may have taken its last use away.
    commits = _commits(calls, list(versions), known)
    return [
        DeployedCode(
            environment=environment,
            kind=DeployedCode.Kind.WORKER,
            name=name,
            deployment=active[name].id,
            version=version.id,
            etag=version.etag,
            commit=commits.get(version.id, ""),
            bindings=version.kv,
            deployed_at=active[name].at,
            seen_at=now,
        )
        for (name, _id), version in versions.items()
    ]


def _versions(
    calls: Calls, active: Mapping[str, Deployment], known: Mapping[tuple[str, str], DeployedCode]
) -> dict[tuple[str, str], WorkerVersion]:
    """The active versions by Worker and id; those that were seen before are not asked for again."""
    wanted = [(name, version) for name, deployment in active.items() for version in deployment.versions]
    new = [key for key in wanted if key not in known]
    told = calls.all([partial(calls.client.worker_version, *key) for key in new])
    seen = {key: WorkerVersion(key[1], known[key].etag, known[key].bindings) for key in wanted if key in known}
    return seen | dict(zip(new, told, strict=True))


def _commits(
    calls: Calls, keys: list[tuple[str, str]], known: Mapping[tuple[str, str], DeployedCode]
) -> dict[str, str]:
    """The commits of versions, as far as Workers Builds built them. The token need not have the permission."""
    found = {key[1]: known[key].commit for key in keys if key in known and known[key].commit}
    missing = [version for _name, version in keys if version not in found]
    try:
        return found | (calls.run(lambda: calls.client.build_commits(missing)) if missing else {})
    except ApiError:
        return found


def _projects(environment: Environment, calls: Calls, before: list[DeployedCode]) -> list[DeployedCode]:
    client, now = calls.client, clock.now()
    names = calls.run(client.pages_projects)
    projects = calls.all([partial(client.pages_project, name) for name in names])
    known = {(code.name, code.deployment): code for code in before if code.kind == DeployedCode.Kind.PAGES}
    return _previews(environment, projects) + [
        DeployedCode(
            environment=environment,
            kind=DeployedCode.Kind.PAGES,
            name=project.name,
            deployment=project.deployment,
            commit=project.commit,
            dirty=project.dirty,
            bindings=_bindings(project, known.get((project.name, project.deployment))),
            deployed_at=project.at,
            seen_at=now,
        )
        for project in projects
        if project.deployment
    ]


def _previews(environment: Environment, projects: list[PagesProject]) -> list[DeployedCode]:
    """The previews that bind a namespace of production. Each runs a branch of its own, so their code has no commit.

    In another environment previews are what its namespaces are for.
    """
    ours = set(environment.namespaces.values_list("namespace_id", flat=True)) if environment.production else set()
    return [
        DeployedCode(
            environment=environment,
            kind=DeployedCode.Kind.PAGES,
            name=project.name,
            version=PREVIEW,
            bindings=project.preview_kv,
            seen_at=clock.now(),
        )
        for project in projects
        if ours.intersection(project.preview_kv.values())
    ]


def _bindings(project: PagesProject, before: DeployedCode | None) -> dict[str, str]:
    """The bindings of a deployment. One that was removed from the settings stays until the next deployment."""
    return {**(before.bindings if before else {}), **project.kv}
