"""The contents of `environments.toml`, and the rules it must keep (docs: environments).

References name secrets, they never are secrets. The rules close the ways in which QA and production can be bound to
the same thing by mistake. `environments.apply` asks Cloudflare for the rest.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from string import Formatter
from urllib.parse import urlsplit

from kvops.environments.hours import DAYS
from kvops.environments.toml import DefinitionRefused, Fields, TomlTable, insist_unique

ID = r"[0-9a-z][0-9a-z_-]{0,63}"
BINDING = r"[A-Za-z_][A-Za-z0-9_]{0,99}"
REFERENCE = r"env:[A-Za-z_][A-Za-z0-9_]*|file:\S.*|op://[^/]+/[^/]+/.+"
DEFAULT_API = "https://api.cloudflare.com/client/v4"
DEFAULT_TEMPLATE = "backups"
PLANS = ("paid", "free")
LANGUAGES = ("en", "ja")
BUDGET = r"[a-z0-9][a-z0-9-]*"
FEWEST_REQUESTS, MOST_REQUESTS = 480, 960
"""Requests in 300 seconds. Reading a block of keys may need 400 at once; Cloudflare allows a user 1,200."""
HOURS = r"([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]"


@dataclass(frozen=True)
class KVDefinition:
    """A namespace under the name Workers know it by."""

    binding: str
    namespace_id: str
    unpaired: str
    scratch: bool = False


@dataclass(frozen=True)
class D1Definition:
    """A database under the name Workers know it by."""

    binding: str
    database_id: str


@dataclass(frozen=True)
class EnvironmentDefinition:
    """One environment; the fields up to `requests` are those of the model."""

    slug: str
    name: str
    order: int
    production: bool
    plan: str
    account_id: str
    read_token: str
    write_token: str
    api_base_url: str
    r2_endpoint: str
    r2_bucket: str
    r2_access_key_id: str
    r2_secret_access_key: str
    key_template: str
    slack: str
    language: str
    hours: str
    days: str
    vault: str
    budget: str
    requests: int
    kv: tuple[KVDefinition, ...]
    d1: tuple[D1Definition, ...]

    def fields(self) -> dict[str, object]:
        """The fields of the model, without the slug."""
        values = asdict(self)
        return {name: value for name, value in values.items() if name not in {"slug", "kv", "d1"}}

    def as_data(self) -> dict[str, object]:
        """The environment in the shape of the TOML, with every field, for `read_environments`."""
        values = asdict(self)
        r2 = {name.removeprefix("r2_"): values.pop(name) for name in list(values) if name.startswith("r2_")}
        r2["key_template"] = values.pop("key_template")
        return {**values, "r2": r2}

    def things(self) -> dict[str, Fields]:
        """The environment and its bindings, by a name for people, with the fields that may change."""
        return {
            self.slug: self.fields(),
            **{
                f"{self.slug}/{kv.binding}": {
                    "namespace": kv.namespace_id,
                    "unpaired": kv.unpaired,
                    "scratch": kv.scratch,
                }
                for kv in self.kv
            },
            **{f"{self.slug}/{d1.binding} (D1)": {"database": d1.database_id} for d1 in self.d1},
        }


def read_environments(top: TomlTable) -> tuple[EnvironmentDefinition, ...]:
    """The environments of a TOML text or a prepared change, in their order. Raises DefinitionRefused."""
    found = sorted((_environment(table) for table in top.tables("environment")), key=lambda d: d.order)
    top.done()
    _insist_rules(found)
    return tuple(found)


def _environment(table: TomlTable) -> EnvironmentDefinition:
    r2 = table.table("r2")
    definition = EnvironmentDefinition(
        slug=table.text("slug", pattern=r"[a-z0-9][a-z0-9-]*", takes="takes a-z, 0-9 and -", longest=40),
        name=table.text("name", longest=80),
        order=table.number("order", lowest=1, highest=999),
        production=table.flag("production"),
        plan=table.choice("plan", PLANS, "paid"),
        account_id=_id(table, "account_id"),
        read_token=_reference(table, "read_token"),
        write_token=_reference(table, "write_token"),
        api_base_url=_url(table, "api_base_url", DEFAULT_API),
        r2_endpoint=_url(r2, "endpoint", None),
        r2_bucket=r2.text("bucket", pattern=r"[a-z0-9][a-z0-9.-]*", takes="takes the name of a bucket", longest=63),
        r2_access_key_id=_reference(r2, "access_key_id"),
        r2_secret_access_key=_reference(r2, "secret_access_key"),
        key_template=_template(r2),
        slack=_reference(table, "slack", ""),
        language=table.choice("language", LANGUAGES, "en"),
        hours=_hours(table),
        days=_days(table),
        vault=table.text("vault", "", takes="takes the name of a 1Password vault", longest=100),
        budget=table.text("budget", "shared", pattern=BUDGET, takes="takes a-z, 0-9 and -", longest=40),
        requests=table.number("requests", MOST_REQUESTS, lowest=FEWEST_REQUESTS, highest=MOST_REQUESTS),
        kv=tuple(
            KVDefinition(
                _binding(kv),
                _id(kv, "namespace_id"),
                kv.text("unpaired", "", takes="takes the reason"),
                kv.flag("scratch"),
            )
            for kv in table.tables("kv")
        ),
        d1=tuple(D1Definition(_binding(d1), _id(d1, "database_id")) for d1 in table.tables("d1")),
    )
    r2.done()
    return definition


def _binding(table: TomlTable) -> str:
    return table.text("binding", pattern=BINDING, takes="takes the name of a binding")


def _id(table: TomlTable, field: str) -> str:
    return table.text(field, pattern=ID, takes="takes an identifier in lower case", longest=64)


def _reference(table: TomlTable, field: str, default: str | None = None) -> str:
    return table.text(
        field,
        default,
        pattern=REFERENCE,
        takes="takes a reference (env:NAME, file:PATH or op://…), never the secret itself",
    )


def _url(table: TomlTable, field: str, default: str | None) -> str:
    url = table.text(field, default, pattern=r"https?://[^\s?#@]+", takes="takes an https:// address", longest=200)
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "localhost"}:
        raise table.refuse(field, "takes an https:// address; plain http is for this machine only.")
    return url.rstrip("/")


def _hours(table: TomlTable) -> str:
    hours = table.text("hours", "", pattern=HOURS, takes='takes hours such as "09:00-18:00"', longest=11)
    begin, _, end = hours.partition("-")
    if hours and begin == end:
        raise table.refuse("hours", "begins and ends at the same time. Leave it out to allow all hours.")
    return hours


def _days(table: TomlTable) -> str:
    day = "|".join(DAYS)
    takes = 'takes days such as "mon,tue,wed,thu,fri"'
    days = table.text("days", "", pattern=rf"({day})(,({day}))*", takes=takes, longest=27)
    if days and not table.text("hours", ""):
        raise table.refuse("days", 'needs hours, such as hours = "09:00-18:00".')
    return days


def _template(r2: TomlTable) -> str:
    template = r2.text(
        "key_template", DEFAULT_TEMPLATE, pattern=r"[A-Za-z0-9/_.{}-]+", takes="takes A-Z a-z 0-9 / _ . -"
    )
    try:
        fields = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise r2.refuse("key_template", f"is not well-formed: {error}.") from error
    if fields - {"environment"}:
        raise r2.refuse("key_template", "knows the placeholder {environment} only.")
    if any(segment in ("", ".", "..") for segment in template.split("/")):
        raise r2.refuse("key_template", "has an empty or dot segment.")
    return template


def _insist_rules(found: Sequence[EnvironmentDefinition]) -> None:
    if not found:
        raise DefinitionRefused("There is no [[environment]].")
    insist_unique("The slug", [d.slug for d in found])
    insist_unique("The name", [d.name for d in found])
    insist_unique("The order", [str(d.order) for d in found])
    insist_unique("The token", [token for d in found for token in (d.read_token, d.write_token)])
    insist_unique("The namespace", [kv.namespace_id for d in found for kv in d.kv])
    insist_unique("The database", [d1.database_id for d in found for d1 in d.d1])
    for definition in found:
        if sum(kv.scratch for kv in definition.kv) > 1:
            raise DefinitionRefused(f"{definition.slug}: only one binding can be the scratch one.")
        insist_unique(f"{definition.slug}: the KV binding", [kv.binding for kv in definition.kv])
        insist_unique(f"{definition.slug}: the D1 binding", [d1.binding for d1 in definition.d1])
    if [d.production for d in found] != sorted(d.production for d in found):
        raise DefinitionRefused("Production must come after every other environment in `order`: it is cleaned last.")
    plans = {d.account_id: d.plan for d in found}
    for definition in found:
        if plans[definition.account_id] != definition.plan:
            raise DefinitionRefused(f"{definition.slug}: another environment of this account says another plan.")
    requests = {d.budget: d.requests for d in found}
    for definition in found:
        if requests[definition.budget] != definition.requests:
            raise DefinitionRefused(
                f"{definition.slug}: another environment with the budget {definition.budget} says other `requests`."
            )
    _insist_pairs(found)
    _insist_buckets(found)


def _insist_pairs(found: Sequence[EnvironmentDefinition]) -> None:
    having: dict[str, dict[str, KVDefinition]] = defaultdict(dict)
    for definition in found:
        for kv in definition.kv:
            having[kv.binding][definition.slug] = kv
    for binding in [kv.binding for d in found for kv in d.kv if kv.scratch]:
        holders = having.pop(binding, {})
        if any(kv.unpaired for kv in holders.values()) or not all(kv.scratch for kv in holders.values()):
            raise DefinitionRefused(
                f"{binding} is scratch: it takes no `unpaired`, and no other environment uses its name."
            )
    for binding, holders in having.items():
        missing = [d.slug for d in found if d.slug not in holders]
        for slug, kv in holders.items():
            if missing and not kv.unpaired:
                raise DefinitionRefused(
                    f'{slug}/{binding} has no pair in {", ".join(missing)}. Add it there, or say unpaired = "<reason>".'
                )
            if kv.unpaired and not missing:
                raise DefinitionRefused(f"{slug}/{binding} says unpaired, but every environment has it.")


def _insist_buckets(found: Sequence[EnvironmentDefinition]) -> None:
    seen: dict[str, EnvironmentDefinition] = {}
    for definition in found:
        other = seen.setdefault(definition.r2_bucket, definition)
        if other is not definition and not all("{environment}" in d.key_template for d in (other, definition)):
            raise DefinitionRefused(
                f"{other.slug} and {definition.slug} both write to the bucket {definition.r2_bucket}: give both a "
                'key_template with {environment} in it, such as "{environment}/backups", or use two buckets.'
            )
