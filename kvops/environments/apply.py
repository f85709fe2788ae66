"""The environments as a definition: what is in force, and how the rows follow a new one.

Every binding is read first, with the environment's own read token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Self

from django.db.models import F
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops.cloudflare import CloudflareError
from kvops.connections.clients import reader
from kvops.environments.definition import D1Definition, EnvironmentDefinition, KVDefinition, read_environments
from kvops.environments.effect import Definition, remove
from kvops.environments.toml import DefinitionRefused, Fields, TomlTable
from kvops.models import ApprovalRequest, Database, Environment, Namespace, Scratch
from kvops.wording import say

if TYPE_CHECKING:
    from django.utils.functional import Promise

_APART = 10_000
"""Added to every order while environments change places."""


class NotVisible(DefinitionRefused):
    """The read token cannot see a binding: the token of another account, or a wrong id."""


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


@dataclass(frozen=True)
class Environments(Definition):
    """All environments."""

    kind = ApprovalRequest.Kind.ENVIRONMENT
    action = Action.ENVIRONMENT_APPLIED
    table = "kvops_environment"
    overtaken = "Somebody else applied environments just now. Apply yours again."

    definitions: tuple[EnvironmentDefinition, ...]
    titles: dict[str, str] = field(default_factory=dict, compare=False)
    """The title of every namespace by its id, once the read tokens have looked."""

    @classmethod
    def read(cls, top: TomlTable) -> Self:
        """The environments of a TOML text or a prepared change."""
        return cls(read_environments(top))

    @classmethod
    def in_force(cls) -> Self:
        """The environments in force."""
        rows = Environment.objects.order_by("order").prefetch_related("namespaces", "databases")
        scratches = {one.environment_id: one for one in Scratch.objects.all()}
        found = (
            EnvironmentDefinition(
                **{name: getattr(row, name) for name in _FIELDS},
                kv=_bindings(row, scratches.get(row.pk)),
                d1=tuple(D1Definition(d.binding, d.database_id) for d in row.databases.all()),
            )
            for row in rows
        )
        return cls(tuple(found))

    @classmethod
    def exists(cls) -> bool:
        """Whether there are environments."""
        return Environment.objects.exists()

    def as_data(self) -> dict[str, object]:
        """The environments in the shape of the TOML."""
        return {"environment": [definition.as_data() for definition in self.definitions]}

    def things(self) -> Mapping[str, Fields]:
        """Every environment and binding."""
        return {name: fields for definition in self.definitions for name, fields in definition.things().items()}

    def look(self) -> list[str]:
        """The title of every namespace, as the environment's own read token sees it. Raises NotVisible."""
        self.titles.update(_probe(self.definitions))
        return [
            f"{d.slug}/{kv.binding} is the namespace “{self.titles[kv.namespace_id]}” ({kv.namespace_id})"
            for d in self.definitions
            for kv in d.kv
        ]

    def write(self) -> None:
        """Make the rows of environments, namespaces and databases equal to the definitions."""
        bindings = {(d.slug, kv.binding, kv.namespace_id) for d in self.definitions for kv in d.kv if not kv.scratch}
        for namespace in Namespace.objects.select_related("environment"):
            if (namespace.environment.slug, namespace.binding, namespace.namespace_id) not in bindings:
                remove(namespace, _BOUND, what=namespace)
        Scratch.objects.all().delete()
        Database.objects.all().delete()
        for environment in Environment.objects.exclude(slug__in=[d.slug for d in self.definitions]):
            remove(environment, _USED, what=environment)
        before = {environment.slug: environment for environment in Environment.objects.all()}
        Environment.objects.update(order=F("order") + _APART)
        for definition in self.definitions:
            fields = definition.fields()
            if any(getattr(before.get(definition.slug), name, None) != value for name, value in fields.items()):
                fields["updated_at"] = Now()
            environment, _created = Environment.objects.update_or_create(slug=definition.slug, defaults=fields)
            for kv in definition.kv:
                values = {**asdict(kv), "title": self.titles[kv.namespace_id]}
                if values.pop("scratch"):
                    del values["unpaired"]
                    Scratch.objects.create(environment=environment, **values)
                    continue
                Namespace.objects.update_or_create(environment=environment, binding=kv.binding, defaults=values)
            Database.objects.bulk_create(Database(environment=environment, **asdict(d1)) for d1 in definition.d1)

    def keep(self, text: str, actor: log.Actor) -> str:
        """The rows are all there is to keep."""
        return "environments"


apply_environments = Environments.apply
use_change = Environments.use


def probe(environment: Environment) -> int:
    """The number of namespaces and databases the read token sees; raises NotVisible unless it sees all of them."""
    mine = [definition for definition in Environments.in_force().definitions if definition.slug == environment.slug]
    _probe(mine)
    return sum(len(definition.kv) + len(definition.d1) for definition in mine)


def _bindings(row: Environment, scratch: Scratch | None) -> tuple[KVDefinition, ...]:
    found = [KVDefinition(one.binding, one.namespace_id, one.unpaired) for one in row.namespaces.all()]
    if scratch:
        found.append(KVDefinition(scratch.binding, scratch.namespace_id, "", scratch=True))
    return tuple(found)


_FIELDS = [name for name in EnvironmentDefinition.__dataclass_fields__ if name not in {"kv", "d1"}]


def _probe(wanted: Sequence[EnvironmentDefinition]) -> dict[str, str]:
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


_BOUND = _(
    "%(what)s has runs, scans, backups or requests, so it can neither be left out nor be bound to another namespace."
)
_USED = _("%(what)s has runs, scans, backups or requests, so it cannot be left out.")
