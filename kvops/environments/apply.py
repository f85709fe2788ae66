"""How a new definition of environments takes effect.

Without an environment in force a definition takes effect at once. Afterwards it becomes a prepared change that an
operator submits and a reviewer decides. Every binding is read first, with the environment's own read token.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from django.db import connection as database, transaction
from django.db.models import F, Model, ProtectedError
from django.db.models.functions import Now
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops.approvals import evidence, gate as approval_gate, prepared_changes
from kvops.cloudflare import CloudflareError
from kvops.connections.clients import reader
from kvops.environments import definition as environments_definition
from kvops.environments.toml import Applied, DefinitionRefused, TomlTable, for_the_audit_log
from kvops.models import ApprovalRequest, Database, Environment, Namespace, Person, PreparedChange, Scratch
from kvops.wording import say

_APART = 10_000
"""Added to every order while environments change places."""


class NotVisible(DefinitionRefused):
    """The read token cannot see a binding: the token of another account, or a wrong id."""


class StillInUse(DefinitionRefused):
    """A binding that the definition omits has runs, scans or backups, which are kept."""


class UnknownNamespace(Exception):
    """No environment has a binding of that name."""


def find_namespace(address: str) -> Namespace:
    """The namespace at `ENV/BINDING`, with its environment. Raises UnknownNamespace, which lists the existing ones."""
    slug, _, binding = address.partition("/")
    namespaces = Namespace.objects.select_related("environment").order_by("environment__order", "binding")
    found = namespaces.filter(environment__slug=slug, binding=binding).first()
    if found is None:
        known = ", ".join(map(str, namespaces)) or "none yet, run apply_environments first"
        raise UnknownNamespace(f"There is no {address}. Known are: {known}.")
    return found


def apply_environments(text: str, *, actor: log.Actor) -> Applied | PreparedChange:
    """Put the environments of a TOML text in force, or prepare the change for a second person.

    Raises DefinitionRefused and its kinds NotVisible and StillInUse, and approval_gate.ApprovalRefused.
    """
    wanted = environments_definition.parse_environments(text)
    differences = environments_definition.changes(environments_in_force(), wanted)
    if not differences:
        return Applied(())
    titles = _probe(wanted)
    if Environment.objects.exists():
        with transaction.atomic():  # a dry run: the database's refusals are found before a reviewer decides
            _write(wanted, titles)
            transaction.set_rollback(True)
        return prepared_changes.prepare_change(
            ApprovalRequest.Kind.ENVIRONMENT,
            definition=environments_definition.as_data(wanted),
            summary=[*differences, *_titles(wanted, titles)],
            actor=actor,
        )
    with log.transaction():
        _lock()
        if Environment.objects.exists():
            raise DefinitionRefused("Somebody else applied environments just now. Apply yours again.")
        _write(wanted, titles)
        _record(wanted, differences, actor)
    return Applied(tuple(differences))


def use_change(request: ApprovalRequest, *, by: Person) -> Applied:
    """Put an approved change in force. Raises ApprovalRefused and the kinds of DefinitionRefused."""
    change = PreparedChange.objects.get(approval=request)
    wanted = environments_definition.environments_of_table(TomlTable(json.loads(change.definition)))
    titles = _probe(wanted)
    if renamed := [line for line in _titles(wanted, titles) if line not in change.summary]:
        raise approval_gate.ApprovalRefused(
            say(_("%(what)s now, without an approval. Apply the file again."), what=renamed[0])
        )
    with log.transaction():
        _lock()
        differences = environments_definition.changes(environments_in_force(), wanted)
        prepared_changes.claim_change(change, by=by)
        _write(wanted, titles)
        _record(wanted, differences, by.actor)
    return Applied(tuple(differences))


def probe(environment: Environment) -> int:
    """The number of namespaces and databases the read token sees; raises NotVisible unless it sees all of them."""
    mine = [definition for definition in environments_in_force() if definition.slug == environment.slug]
    _probe(mine)
    return sum(len(definition.kv) + len(definition.d1) for definition in mine)


def environments_in_force() -> list[environments_definition.EnvironmentDefinition]:
    """The environments in force, as definitions."""
    rows = Environment.objects.order_by("order").prefetch_related("namespaces", "databases")
    scratches = {one.environment_id: one for one in Scratch.objects.all()}
    return [
        environments_definition.EnvironmentDefinition(
            **{name: getattr(row, name) for name in _FIELDS},
            kv=_bindings(row, scratches.get(row.pk)),
            d1=tuple(environments_definition.D1Definition(d.binding, d.database_id) for d in row.databases.all()),
        )
        for row in rows
    ]


def _bindings(row: Environment, scratch: Scratch | None) -> tuple[environments_definition.KVDefinition, ...]:
    found = [
        environments_definition.KVDefinition(one.binding, one.namespace_id, one.unpaired)
        for one in row.namespaces.all()
    ]
    if scratch:
        found.append(environments_definition.KVDefinition(scratch.binding, scratch.namespace_id, "", scratch=True))
    return tuple(found)


_FIELDS = [
    name for name in environments_definition.EnvironmentDefinition.__dataclass_fields__ if name not in {"kv", "d1"}
]


def _probe(wanted: Sequence[environments_definition.EnvironmentDefinition]) -> dict[str, str]:
    """The title of every namespace by its id, as the environment's own read token sees it. Raises NotVisible."""
    titles: dict[str, str] = {}
    for definition in wanted:
        what: str | Promise = _("the account")
        try:
            with reader(Environment(slug=definition.slug, **definition.fields())) as client:
                for kv in definition.kv:
                    what = say(_("the namespace %(id)s of %(binding)s"), id=kv.namespace_id, binding=kv.binding)
                    titles[kv.namespace_id] = client.namespace(kv.namespace_id).title
                what = _("the D1 databases")
                visible = {info.id for info in client.databases()} if definition.d1 else set()
        except CloudflareError as error:
            raise NotVisible(
                say(
                    _(
                        "%(slug)s: %(token)s cannot see %(what)s in account %(account)s. "
                        "Is it another environment's token, or a wrong id? %(error)s"
                    ),
                    slug=definition.slug,
                    token=definition.read_token,
                    what=what,
                    account=definition.account_id,
                    error=error,
                )
            ) from error
        for d1 in definition.d1:
            if d1.database_id not in visible:
                raise NotVisible(
                    say(
                        _(
                            "%(slug)s: %(token)s cannot see the database %(id)s of %(binding)s in account %(account)s. "
                            "It needs D1 Read and the right id."
                        ),
                        slug=definition.slug,
                        token=definition.read_token,
                        id=d1.database_id,
                        binding=d1.binding,
                        account=definition.account_id,
                    )
                )
    return titles


def _titles(wanted: Sequence[environments_definition.EnvironmentDefinition], titles: Mapping[str, str]) -> list[str]:
    return [
        f"{d.slug}/{kv.binding} is the namespace “{titles[kv.namespace_id]}” ({kv.namespace_id})"
        for d in wanted
        for kv in d.kv
    ]


def _lock() -> None:
    with database.cursor() as cursor:
        cursor.execute("LOCK TABLE kvops_environment IN SHARE ROW EXCLUSIVE MODE")


def _write(wanted: Sequence[environments_definition.EnvironmentDefinition], titles: Mapping[str, str]) -> None:
    """Make the rows equal to the definitions, within the caller's transaction. Raises StillInUse."""
    bindings = {(d.slug, kv.binding, kv.namespace_id) for d in wanted for kv in d.kv if not kv.scratch}
    for namespace in Namespace.objects.select_related("environment"):
        if (namespace.environment.slug, namespace.binding, namespace.namespace_id) not in bindings:
            _remove(namespace, _BOUND)
    Scratch.objects.all().delete()
    Database.objects.all().delete()
    for environment in Environment.objects.exclude(slug__in=[d.slug for d in wanted]):
        _remove(environment, _USED)
    Environment.objects.update(order=F("order") + _APART)
    for definition in wanted:
        environment, _created = Environment.objects.update_or_create(
            slug=definition.slug, defaults={**definition.fields(), "updated_at": Now()}
        )
        for kv in definition.kv:
            values = {**asdict(kv), "title": titles[kv.namespace_id]}
            if values.pop("scratch"):
                del values["unpaired"]
                Scratch.objects.create(environment=environment, **values)
                continue
            Namespace.objects.update_or_create(environment=environment, binding=kv.binding, defaults=values)
        Database.objects.bulk_create(Database(environment=environment, **asdict(d1)) for d1 in definition.d1)


_BOUND = _(
    "%(what)s has runs, scans, backups or requests, so it can neither be left out nor be bound to another namespace."
)
_USED = _("%(what)s has runs, scans, backups or requests, so it cannot be left out.")


def _remove(row: Model, sentence: Promise) -> None:
    try:
        row.delete()
    except ProtectedError as error:
        raise StillInUse(say(sentence, what=row)) from error


def _record(
    wanted: Sequence[environments_definition.EnvironmentDefinition], differences: Sequence[str], actor: log.Actor
) -> None:
    log.record(
        Action.ENVIRONMENT_APPLIED,
        actor=actor,
        subject="environments",
        digest=evidence.digest_of(evidence.canonical_evidence(environments_definition.as_data(wanted))),
        details={"changes": for_the_audit_log(differences)},
    )
