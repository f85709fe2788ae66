"""The search of a deployed Worker's own script: the modules of the version that runs are downloaded and searched.

The version and its etag take the place of the commit. The binding in a hit is named as the environment names it, also
if the Worker has another name for it. A module that cannot be searched, such as WebAssembly, is a hit that cannot be
told. The code itself is not stored.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from kvops import clock
from kvops.cloudflare import WorkerModule
from kvops.connections.calls import Calls
from kvops.models import DeployedCode, Family, Person, ReferenceSearch, Role, Run
from kvops.references import look, store as reference_store
from kvops.references.report import ANY_FAMILY, CONTEXT_LINES, Hit, Report, wrong_path
from kvops.references.search import Pattern, SearchRefused, search_sources
from kvops.refusals import Refused
from kvops.runs import driver as run_driver
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Done, RunError

CODE = frozenset(
    {"application/javascript+module", "application/javascript", "text/javascript+module", "text/javascript"}
)
"""The types of modules that can be searched as code."""
TEXT = frozenset({"text/plain", "application/json"})
"""The types of modules that are searched as text: they call no binding, but can hold a key's name."""
LEFT_OUT = frozenset({"application/octet-stream", "application/source-map"})
"""The types of modules that are neither. A source map repeats the code."""


class ScriptRefused(Refused):
    """The script cannot be searched; the message gives the reason."""


def start(code: DeployedCode, *, by: Person) -> Run:
    """Start the search of a deployed script. Raises ScriptRefused and run_driver.AlreadyOpen."""
    if not by.holds(Role.OPERATOR):
        raise ScriptRefused(_("Only an operator can do this."))
    if code.kind != DeployedCode.Kind.WORKER:
        raise ScriptRefused(
            _("Cloudflare does not give the code of a Pages project. Search its repository at the deployed commit.")
        )
    with log.transaction():
        return run_driver.create(
            Run.Kind.SEARCH,
            subject=f"code:{code.pk}",
            label=f"{code} {code.version}",
            actor=by.actor,
            person=by,
            environment=code.environment,
        )


def work(lease: Lease) -> Done:
    """Download the modules of the version, search them and store the search."""
    run = lease.run
    code = DeployedCode.objects.select_related("environment").filter(pk=run.subject.partition(":")[2]).first()
    if code is None:
        raise RunError("superseded", gettext_noop("Another version is deployed now. Search that one instead."))
    with Calls(code.environment, lease.keep) as calls:
        modules = calls.run(lambda: calls.client.modules(code.name, code.version))
    with lease.checkpoint(calls=run.calls + calls.client.calls):
        pass
    try:
        report = search(code, modules, at=clock.now())
    except SearchRefused as refused:
        raise RunError("search", refused) from refused
    look.ask_when_due(code.environment, lease.keep)
    stored = reference_store.store(
        code.environment,
        report,
        source=ReferenceSearch.Source.WORKER,
        worker=code.name,
        version=code.version,
        etag=code.etag,
        by=run.started_by or log.Actor.system("references"),
    )
    return Done({"search": stored.pk, "files": report.files, "hits": len(report.hits)})


def search(code: DeployedCode, modules: Sequence[WorkerModule], *, at: datetime) -> Report:
    """The report on the modules of a version. Raises SearchRefused."""
    namespaces = dict(code.environment.namespaces.values_list("namespace_id", "binding"))
    names = {name: namespaces[one] for name, one in code.bindings.items() if one in namespaces}
    sources = [(_file(one), one.data.decode("utf-8", "replace")) for one in modules if one.content_type in CODE | TEXT]
    if len({_file(one) for one in modules}) < len(modules):
        raise SearchRefused(gettext_noop("Two modules have the same name."))
    opaque = [_file(one) for one in modules if one.content_type not in CODE | TEXT | LEFT_OUT]
    report = Report(code.version, 0, at, (), ())
    if sources:
        report = search_sources(sources, list(_patterns(names)), commit=code.version, at=at)
    hits = [replace(hit, family=_family(hit.family, names)) for hit in report.hits]
    return replace(
        report,
        files=report.files + len(opaque),
        hits=(*hits, *map(_opaque, opaque)),
        unparsed=(*report.unparsed, *opaque),
    )


def _patterns(names: Mapping[str, str]) -> Iterable[Pattern]:
    """The families of the policy, under the names that the Worker has for their bindings."""
    families = list(Family.objects.order_by("binding", "pattern"))
    for name, binding in names.items():
        for family in families:
            if family.binding == binding:
                yield Pattern(name, family.pattern, family.exact, family.category)


def _family(family: str, names: Mapping[str, str]) -> str:
    """The family of a hit, with its binding as the environment names it."""
    binding, space, pattern = family.partition(" ")
    return f"{names.get(binding, binding)}{space}{pattern}"


def _file(module: WorkerModule) -> str:
    """The name of a module as a path; that of code has a suffix of code."""
    parts = [part for part in module.name.replace("\\", "/").split("/") if part not in {"", ".", ".."}]
    name = "/".join(parts)
    if module.content_type in CODE and not name.endswith((".js", ".mjs", ".cjs")):
        name += ".js"
    if wrong_path(name):
        raise SearchRefused(gettext_noop("The name of a module cannot be the path of a file."))
    return name


def _opaque(file: str) -> Hit:
    return Hit(file, 1, 1, "unknown", "unknown", ANY_FAMILY, "", ("",) * CONTEXT_LINES)
