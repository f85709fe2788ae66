"""The names of a backup's objects. Nothing is read or written here.

A backup has one *stem*. Its first part is `<stem>.json`, further ones `<stem>.part-00002.json` and so on. A part also
ends when its time is up, so the number of parts is unknown when the first is written. A backup of one part must have
the plain name. Beside them are `<object>.digests`, `<stem>.RESTORE.md` and, last, `<stem>.manifest.json`.

A part may have to be read again after a crash, while an earlier attempt with other values is already stored. It is
then called `<stem>.try-2.json`: objects are never overwritten, and no manifest names the earlier one.

An encrypted data object ends in `.json.age`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from string import Formatter
from urllib.parse import quote

from backups.archive.errors import LayoutError
from kvops.refusals import Sentence as _

KV_TEMPLATE = "backups/kv/{prefix}/{timestamp}"
CLINICS_TEMPLATE = "backups/kv/clinics/{timestamp}"
MASTERS_TEMPLATE = "backups/masters/{date}"
INVESTIGATIONS_TEMPLATE = "investigations/{environment}/{prefix}/{timestamp}"

WHOLE_NAMESPACE = "~all"
"""The name of the empty prefix. No other prefix encodes to it, because `~` would be percent-encoded."""

MAX_KEY_BYTES = 1024
_LONGEST_SUFFIX = len(".part-00002.try-99.api-only.json.age.digests")
_FIELDS = {"environment", "prefix", "timestamp", "date"}
_LITERAL = re.compile(r"[A-Za-z0-9/_.-]*")


@dataclass(frozen=True)
class TemplateUse:
    """The templates one environment writes with, and the bucket (endpoint and name) they share."""

    environment: str
    bucket: str
    templates: tuple[str, ...]


def kv_template(prefix: str) -> str:
    """The default template for backups of this KV prefix, if the environment names none."""
    return CLINICS_TEMPLATE if prefix == "clinic:id:" else KV_TEMPLATE


def encode_prefix(prefix: str) -> str:
    """The prefix as one path segment: without its last ":", all but `A-Za-z0-9:_.-` percent-encoded."""
    segment = quote(prefix.removesuffix(":"), safe=":").replace("~", "%7E")
    if not segment.strip("."):
        # Tools that handle paths would take "." and ".." for directories.
        segment = segment.replace(".", "%2E")
    return segment or WHOLE_NAMESPACE


def object_stem(
    template: str, *, environment: str, prefix: str, at: datetime, zone: tzinfo = UTC, later: bool = False
) -> str:
    """The stem of a backup; `later` names another backup of the same day if the template has `{date}`.

    Timestamps are UTC to the microsecond, dates are days of `zone`. Raises LayoutError.
    """
    check_template(template)
    if at.tzinfo is None:
        raise LayoutError(_("The time of a generation needs a time zone."))
    stem = template.format(
        environment=quote(environment, safe=""),
        prefix=encode_prefix(prefix),
        timestamp=at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ"),
        date=at.astimezone(zone).strftime("%Y%m%d-%H%M%S" if later else "%Y%m%d"),
    )
    if len(stem) + _LONGEST_SUFFIX > MAX_KEY_BYTES:
        raise LayoutError(
            _("R2 takes object names of %(most)s bytes: give this family a shorter key template.", most=MAX_KEY_BYTES)
        )
    return stem


def part_key(stem: str, number: int, *, api_only: bool = False, attempt: int = 1, encrypted: bool = False) -> str:
    """The name of a data object; `number` and `attempt` count from 1."""
    named = stem if number == 1 else f"{stem}.part-{number:05}"
    if attempt > 1:
        named = f"{named}.try-{attempt}"
    return f"{named}{'.api-only' if api_only else ''}.json{'.age' if encrypted else ''}"


def is_part_key(key: str, stem: str, number: int, *, api_only: bool, encrypted: bool) -> bool:
    """Whether this is the name of the data object, at any attempt."""
    found = re.search(r"\.try-([1-9][0-9]*)(?:\.api-only)?\.json(?:\.age)?$", key.removeprefix(stem))
    attempt = int(found[1]) if found else 1
    return key == part_key(stem, number, api_only=api_only, attempt=attempt, encrypted=encrypted)


def digests_key(object_key: str) -> str:
    """The name of the digests beside a data object."""
    return f"{object_key}.digests"


def restore_key(stem: str) -> str:
    """The name of the recovery steps."""
    return f"{stem}.RESTORE.md"


def manifest_key(stem: str) -> str:
    """The name of the manifest, which is written last."""
    return f"{stem}.manifest.json"


def check_template(template: str) -> None:
    """Raises LayoutError if a key template cannot be used."""
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise LayoutError(
            _("The key template %(template)s is not well-formed: %(error)s.", template=repr(template), error=error)
        ) from error
    fields = {name for _, name, _, _ in pieces if name is not None}
    if unknown := sorted(fields - _FIELDS):
        raise LayoutError(
            _(
                "The key template %(template)s uses {%(unknown)s}; known are %(known)s.",
                template=repr(template),
                unknown=unknown[0],
                known=sorted(_FIELDS),
            )
        )
    if any(spec or conversion for _, _, spec, conversion in pieces):
        raise LayoutError(_("The key template %(template)s may not format its placeholders.", template=repr(template)))
    if not fields & {"timestamp", "date"}:
        raise LayoutError(
            _(
                "The key template %(template)s needs {timestamp} or {date}: two backups would collide.",
                template=repr(template),
            )
        )
    if not all(_LITERAL.fullmatch(literal) for literal, _, _, _ in pieces):
        raise LayoutError(
            _(
                "The key template %(template)s may hold A-Z a-z 0-9 / _ . - and placeholders only.",
                template=repr(template),
            )
        )
    if any(segment in ("", ".", "..") for segment in template.split("/")):
        raise LayoutError(_("The key template %(template)s has an empty or dot segment.", template=repr(template)))


def validate_templates(uses: Iterable[TemplateUse]) -> None:
    """Raises LayoutError if a template is unusable, or if two environments share a bucket without `{environment}`."""
    seen: dict[str, TemplateUse] = {}
    for use in uses:
        for template in use.templates:
            check_template(template)
        other = seen.setdefault(use.bucket, use)
        if other.environment == use.environment:
            continue
        if any("{environment}" not in template for template in (*use.templates, *other.templates)):
            raise LayoutError(
                _(
                    "%(other)s and %(environment)s both write to %(bucket)s: put {environment} into the key templates"
                    " of both, or use two buckets.",
                    other=other.environment,
                    environment=use.environment,
                    bucket=use.bucket,
                )
            )
