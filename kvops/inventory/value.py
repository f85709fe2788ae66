"""The value of one key, read live on a person's request. The request is recorded first; the value is never stored."""

import json
from dataclasses import dataclass, field
from hashlib import sha256
from shlex import quote as shell
from urllib.parse import quote

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops.cloudflare import KvEntry
from kvops.connections import clients
from kvops.inventory import families as key_families
from kvops.models import Category, Key, Namespace, Person
from kvops.names import invisible, visible
from kvops.operations import registry
from kvops.operations.parts import Question

SHOWN = 64 * 1024
"""Bytes. The longest part of a text that the page shows."""

SHOWN_IN_HEX = 2 * 1024
_LINE = 16


class ValueKind(TextChoices):
    """The form of a value: JSON, other text, or binary."""

    JSON = "json", _("JSON")
    TEXT = "text", _("text")
    BINARY = "binary", _("binary")


@dataclass(frozen=True)
class Live:
    """A value that Cloudflare has now; `shown` is empty if it is masked. `repr` shows no value.

    A masked value has no `sha256`, because a short value would be recognised by it. `known` is false if the newest
    scan did not list the key. `changed` is true if that scan saw another expiration or other metadata.
    """

    masked: bool
    kind: ValueKind
    size: int
    sha256: str
    shown: str = field(repr=False)
    cut: bool
    formatted: bool
    expiration: int | None
    known: bool
    changed: bool
    metadata: str | None = field(default=None, repr=False)
    """The metadata of a revealed key; other pages take it from the inventory."""


def why_policy_edited() -> str:
    """The reason why no value is shown: the rules were changed past the policy. Empty while they are as approved."""
    return str(registry.ask(Question.POLICY_EDITED))


def category_of(namespace: Namespace, name: str) -> Category:
    """The category of a name by the policy in force.

    While the rules in the database differ from it, every name counts as unclassified: rules that nobody approved must
    not unmask a value.
    """
    if why_policy_edited():
        return Category.UNCLASSIFIED
    family = key_families.family_of(namespace.binding, name)
    return Category(family.category) if family else Category.UNCLASSIFIED


def view(namespace: Namespace, name: str, *, by: Person, formatted: bool = False) -> Live | None:
    """The value for a person, masked if sensitive; None if the key no longer exists. Raises CloudflareError."""
    with clients.reader(namespace.environment) as client:
        entry = client.exact_get(namespace.namespace_id, name)
    if entry is None:
        return None
    masked = category_of(namespace, name).sensitive
    with log.transaction():
        log.record(Action.VALUE_VIEWED, actor=by.actor, **namespace.audited, details={"key": name, "masked": masked})
    key = Key.objects.filter(namespace=namespace, name=name).first()
    return as_shown(entry, key, masked=masked, formatted=formatted)


def as_shown(entry: KvEntry, key: Key | None, *, masked: bool, formatted: bool) -> Live:
    """The entry as the page shows it; `key` is its row in the inventory."""
    kind, pretty = _kind(entry.data)
    formatted = formatted and kind == ValueKind.JSON
    if kind == ValueKind.BINARY:
        whole, limit = entry.data, SHOWN_IN_HEX
        shown = in_hex(whole[:limit])
    else:
        whole, limit = pretty.encode("utf-8", "backslashreplace") if formatted else entry.data, SHOWN
        shown = whole[:limit].decode("utf-8", "ignore")  # only the last character can be cut in two
    return Live(
        masked=masked,
        kind=kind,
        size=len(entry.data),
        sha256="" if masked else sha256(entry.data).hexdigest(),
        shown="" if masked else shown,
        cut=len(whole) > limit,
        formatted=formatted,
        expiration=entry.expiration,
        known=key is not None,
        changed=key is not None and (key.expiration, key.metadata) != (entry.expiration, entry.metadata),
        metadata=None if masked else entry.metadata,
    )


def _kind(data: bytes) -> tuple[ValueKind, str]:
    """The form of the bytes, and for JSON the same value indented."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return ValueKind.BINARY, ""
    if "\0" in text:
        return ValueKind.BINARY, ""
    try:
        return ValueKind.JSON, json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return ValueKind.TEXT, ""


def is_json(data: bytes) -> bool:
    """Whether the bytes are JSON."""
    return _kind(data)[0] == ValueKind.JSON


def in_hex(data: bytes) -> str:
    """The bytes as a hex dump: offset, bytes, and their ASCII characters."""
    lines = [data[start : start + _LINE] for start in range(0, len(data), _LINE)]
    return "\n".join(
        f"{number * _LINE:08x}  {line.hex(' '):<{_LINE * 3}} {''.join(chr(b) if 32 <= b < 127 else '.' for b in line)}"
        for number, line in enumerate(lines)
    )


def fetch_command(namespace: Namespace, name: str) -> str:
    """The command that fetches the value without KVOps, quoted for a shell."""
    if name.startswith("-"):
        return _curl(namespace, name, "", "")
    return _wrangler(namespace, f"get {_word(name)}")


def put_command(namespace: Namespace, name: str, *, expiration: int | None, metadata: bool) -> str:
    """The command that writes an entry without KVOps, quoted for a shell.

    It has neither the value nor the metadata, which may be secrets: it reads both from files.
    """
    if name.startswith("-"):
        body = "--form value=@value --form 'metadata=<metadata'" if metadata else "--data-binary @value"
        return _curl(
            namespace, name, f" --request PUT {body}", "" if expiration is None else f"?expiration={expiration}"
        )
    until = "" if expiration is None else f" --expiration {expiration}"
    beside = ' --metadata "$(cat metadata)"' if metadata else ""
    return _wrangler(namespace, f"put {_word(name)} --path value{until}{beside}")


def _word(name: str) -> str:
    """The name as a word of a shell. Bash and zsh read the bytes of an invisible character, which a person sees."""
    if visible(name) == name:
        return shell(name)
    return "$'" + "".join(map(_spelled, name)) + "'"


def _spelled(char: str) -> str:
    if invisible(char):
        return "".join(f"\\x{byte:02x}" for byte in char.encode())
    return f"\\{char}" if char in "'\\" else char


def _wrangler(namespace: Namespace, call: str) -> str:
    account = shell(namespace.environment.account_id)
    place = f"--namespace-id {namespace.namespace_id} --remote"
    return f"CLOUDFLARE_ACCOUNT_ID={account} npx wrangler kv key {call} {place}"


def _curl(namespace: Namespace, name: str, more: str, query: str) -> str:
    """The same for a name that wrangler takes for an option: it has no other way to give a name."""
    account = shell(namespace.environment.account_id)
    base, key = namespace.environment.api_base_url, quote(name, safe="")
    url = f"{base}/accounts/{account}/storage/kv/namespaces/{namespace.namespace_id}/values/{key}{query}"
    return f'curl --fail{more} --header "Authorization: Bearer $CLOUDFLARE_API_TOKEN" {shell(url)}'
