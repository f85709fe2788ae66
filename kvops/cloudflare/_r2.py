"""Reading the protection of an R2 bucket: its locks, its lifecycle rules, and its public addresses.

Only these four calls; objects are read and written through R2's S3 API.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from kvops.cloudflare import _json
from kvops.cloudflare._errors import ConfigurationError
from kvops.cloudflare._http import ApiClient, Route
from kvops.refusals import Sentence as _

BUCKETS = "/r2/buckets"
NAME = r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"

R2_ROUTES = (
    Route("bucket_lock", "GET", f"{BUCKETS}/{NAME}/lock", repeatable=True),
    Route("bucket_lifecycle", "GET", f"{BUCKETS}/{NAME}/lifecycle", repeatable=True),
    Route("managed_domain", "GET", f"{BUCKETS}/{NAME}/domains/managed", repeatable=True),
    Route("custom_domains", "GET", f"{BUCKETS}/{NAME}/domains/custom", repeatable=True),
)


@dataclass(frozen=True, slots=True)
class LockRule:
    """A rule that protects objects whose names begin with `prefix` from deletion and overwriting, while it is enabled.

    Exactly one of: `seconds` after an object was put, `date` (UTC, ISO 8601) for all objects, or `forever`.
    """

    id: str
    prefix: str
    enabled: bool
    seconds: int | None = None
    date: str = ""
    forever: bool = False


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """A rule by which R2 itself deletes objects whose names begin with `prefix`, while it is enabled.

    `seconds` after an object was put; None if the rule deletes on a date.
    """

    id: str
    prefix: str
    enabled: bool
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Domain:
    """An address of a bucket. If it is enabled, anybody can read the bucket's objects there."""

    name: str
    enabled: bool


class R2Reads(ApiClient):
    """The calls about a bucket. They need the permission "Workers R2 Storage Read"; `jurisdiction` is the bucket's."""

    def bucket_locks(self, bucket: str, *, jurisdiction: str = "") -> list[LockRule]:
        """Every lock rule of the bucket, in Cloudflare's order; the strictest rule that covers an object applies."""
        return self._about(bucket, "lock", jurisdiction, "rules", _read_rule)

    def bucket_lifecycle(self, bucket: str, *, jurisdiction: str = "") -> list[LifecycleRule]:
        """The rules by which R2 deletes objects of the bucket; rules that abort uploads or move objects are omitted."""
        found = self._about(bucket, "lifecycle", jurisdiction, "rules", _read_lifecycle)
        return [rule for rule in found if rule is not None]

    def managed_domain(self, bucket: str, *, jurisdiction: str = "") -> Domain:
        """The bucket's address under r2.dev, and whether it is enabled."""
        return self._transport.json(
            "GET",
            _path(bucket, "domains/managed"),
            headers=_headers(jurisdiction),
            read=lambda envelope: _read_domain(_json.as_object(envelope.get("result"))),
        )

    def custom_domains(self, bucket: str, *, jurisdiction: str = "") -> list[Domain]:
        """The team's own domains that are connected to the bucket, and whether each is enabled."""
        return self._about(bucket, "domains/custom", jurisdiction, "domains", _read_domain)

    def _about[T](
        self, bucket: str, what: str, jurisdiction: str, name: str, read: Callable[[_json.Object], T]
    ) -> list[T]:
        return self._transport.json(
            "GET",
            _path(bucket, what),
            headers=_headers(jurisdiction),
            read=lambda envelope: [
                read(_json.as_object(item))
                for item in _json.as_list(_json.as_object(envelope.get("result")).get(name, []))
            ],
        )


def _path(bucket: str, what: str) -> str:
    if not re.fullmatch(NAME, bucket):
        raise ConfigurationError(
            _("%(bucket)s is not the name of a bucket; correct the environment.", bucket=repr(bucket))
        )
    return f"{BUCKETS}/{bucket}/{what}"


def _headers(jurisdiction: str) -> dict[str, str]:
    return {"cf-r2-jurisdiction": jurisdiction} if jurisdiction else {}


def _read_rule(item: _json.Object) -> LockRule:
    condition = _json.as_object(item.get("condition"))
    prefix = item.get("prefix")
    rule = LockRule(
        _json.as_text(item.get("id")),
        "" if prefix is None else _json.as_text(prefix),
        _as_bool(item.get("enabled")),
    )
    match condition.get("type"):
        case "Age":
            return replace(rule, seconds=_json.as_int(condition.get("maxAgeSeconds")))
        case "Date":
            return replace(rule, date=_moment(_json.as_text(condition.get("date"))))
        case "Indefinite":
            return replace(rule, forever=True)
    raise _json.Malformed(_("a lock rule has an unknown condition"))


def _read_lifecycle(item: _json.Object) -> LifecycleRule | None:
    if item.get("deleteObjectsTransition") is None:
        return None
    condition = _json.as_object(_json.as_object(item["deleteObjectsTransition"]).get("condition"))
    prefix = _json.as_object(item.get("conditions")).get("prefix")
    rule = LifecycleRule(
        _json.as_text(item.get("id")),
        "" if prefix is None else _json.as_text(prefix),
        _as_bool(item.get("enabled")),
    )
    match condition.get("type"):
        case "Age":
            return replace(rule, seconds=_json.as_int(condition.get("maxAge")))
        case "Date":
            return rule
    raise _json.Malformed(_("a lifecycle rule has an unknown condition"))


def _read_domain(item: _json.Object) -> Domain:
    return Domain(_json.as_text(item.get("domain")), _as_bool(item.get("enabled")))


def _as_bool(value: _json.Value) -> bool:
    if not isinstance(value, bool):
        raise _json.Malformed(_("true or false was expected"))
    return value


def _moment(text: str) -> str:
    """A date of Cloudflare's API in UTC. A date without a time is the beginning of that day."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError) as error:
        raise _json.Malformed(_("a date was expected")) from error
