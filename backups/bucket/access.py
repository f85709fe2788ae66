"""The bucket of an environment: how to reach it, and where its backups are stored.

A backup in a bucket that the environment no longer uses covers nothing. It is not listed, no verification calls it
damaged, and it replaces no other backup. `store_of` refuses to read it and names the bucket the environment would
need.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from urllib.parse import quote

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from backups import archive
from backups.bucket.r2 import R2Store
from backups.bucket.store import (
    AccessRefused,
    CredentialsRefused,
    Elsewhere,
    ObjectConflict,
    ObjectInfo,
    StoreError,
    StoreUnavailable,
)
from backups.models import Generation, StoredObject
from kvops.connections import credentials, refused_tokens
from kvops.models import Environment, Skew
from kvops.refusals import Sentence, Sentence as _
from kvops.runs.outcomes import TOKEN_REFUSED, RunError, TryLater


@contextmanager
def store(environment: Environment) -> Iterator[R2Store]:
    """A new connection to the environment's bucket. Raises AccessRefused if it may not or cannot be used.

    It is noted that the store refuses the credentials, or takes them again.
    """
    with unnoted_store(environment) as bucket:
        try:
            yield bucket
        except CredentialsRefused:
            unknown = {"bucket": HTTPStatus.UNAUTHORIZED}
            refused_tokens.note_refused(environment, environment.r2_access_key_id, unknown, Skew.Service.R2)
            raise
        else:
            if bucket.answered:
                refused_tokens.note_accepted(environment, environment.r2_access_key_id, ["bucket"])


@contextmanager
def unnoted_store(environment: Environment) -> Iterator[R2Store]:
    """The same for a look that leaves no trace here: nothing is noted."""
    try:
        access_key_id = credentials.resolve(environment.r2_access_key_id)
        secret_access_key = credentials.resolve(environment.r2_secret_access_key)
    except credentials.UnresolvedReference as error:
        raise AccessRefused(
            _(
                "The R2 credentials of %(environment)s are not there. %(error)s",
                environment=environment.slug,
                error=error,
            )
        ) from error
    bucket = R2Store(
        endpoint=environment.r2_endpoint,
        bucket=environment.r2_bucket,
        access_key_id=access_key_id,
        secret_access_key=secret_access_key,
        allowed_hosts=settings.KVOPS_ALLOWED_API_HOSTS,
    )
    try:
        yield bucket
    finally:
        bucket.close()


@contextmanager
def store_of(generation: Generation) -> Iterator[R2Store]:
    """A connection to the store of this backup.

    Raises Elsewhere if the backup is in another bucket: the environment's bucket then proves nothing about it.
    """
    insist_here(generation)
    with store(generation.environment) as found:
        yield found


def insist_here(generation: Generation) -> None:
    """Raise Elsewhere unless the backup is in the current bucket of its environment."""
    if not generation.is_here:
        now = generation.environment
        mine = _place(generation.bucket, generation.endpoint, generation.account_id)
        raise Elsewhere(
            _(
                "Backup %(backup)s lies in %(mine)s; %(environment)s has %(place)s now. Give the environment its bucket"
                " back to read the backup.",
                backup=generation.pk,
                mine=mine,
                environment=now.slug,
                place=_place(now.r2_bucket, now.r2_endpoint, now.account_id),
            )
        )


def _place(bucket: str, endpoint: str, account_id: str) -> Sentence:
    if not endpoint:
        return _("bucket %(bucket)s", bucket=bucket)
    return _(
        "bucket %(bucket)s at %(endpoint)s of account %(account)s", bucket=bucket, endpoint=endpoint, account=account_id
    )


@contextmanager
def errors_for_a_run() -> Iterator[None]:
    """Turns errors of the store into outcomes of a run: a retry, or a stop with a sentence."""
    try:
        yield
    except StoreUnavailable as error:
        raise TryLater(error) from error
    except ObjectConflict as error:
        raise RunError("conflict", error) from error
    except CredentialsRefused as error:
        raise RunError(TOKEN_REFUSED, error) from error
    except StoreError as error:
        raise RunError("store", error) from error


def root(environment: Environment) -> str:
    """The prefix of the names of all objects of an environment."""
    return environment.key_template.format(environment=quote(environment.slug, safe="")) + "/"


def investigations_root(environment: Environment) -> str:
    """The prefix of the names of an environment's investigation backups. It is not under the prefix that R2 locks."""
    return f"investigations/{quote(environment.slug, safe='')}/"


def roots(environment: Environment) -> list[str]:
    """The prefixes of the names of all backups of an environment."""
    return [root(environment), investigations_root(environment)]


def proposals_root(environment: Environment) -> str:
    """The prefix of the names of an environment's proposals. It is not under the prefix that R2 locks."""
    return f"proposals/{quote(environment.slug, safe='')}/"


_SEEN = ("size", "etag", "modified_at", "seen_at", "status_at", "note", "noted_by", "noted_at")


def remember(generation: Generation, written: Collection[ObjectInfo]) -> None:
    """Keep the store's answers for objects that were just put or verified, within the caller's transaction.

    A person's note on an earlier object of the name falls.
    """
    StoredObject.objects.bulk_create(
        [
            StoredObject(
                environment=generation.environment,
                key=info.key,
                size=info.size,
                etag=info.etag,
                modified_at=info.last_modified,
                seen_at=Now(),
                status_at=Now(),
                generation=generation,
                status=StoredObject.Status.KNOWN,
                written_size=info.size,
                written_etag=info.etag,
            )
            for info in written
        ],
        update_conflicts=True,
        unique_fields=["environment", "key"],
        update_fields=[*_SEEN, "generation", "status", "written_size", "written_etag"],
    )


def stem(environment: Environment, prefixes: Sequence[str], at: datetime) -> str:
    """The stem of a new backup, from the environment's key template. Raises archive.LayoutError."""
    template = archive.kv_template(prefixes[0] if len(prefixes) == 1 else "")
    return archive.object_stem(
        environment.key_template + template.removeprefix("backups"),
        environment=environment.slug,
        prefix="_".join(prefix.removesuffix(":") for prefix in prefixes),
        at=at,
        zone=timezone.get_default_timezone(),
    )


def investigation_stem(environment: Environment, prefixes: Sequence[str], at: datetime) -> str:
    """The stem of a new investigation backup. Raises archive.LayoutError."""
    return archive.object_stem(
        archive.INVESTIGATIONS_TEMPLATE,
        environment=environment.slug,
        prefix="_".join(prefix.removesuffix(":") for prefix in prefixes),
        at=at,
    )


def masters_stem(environment: Environment, at: datetime) -> str:
    """The stem of a new backup of master data: the team's date, and the time too for a later backup of that date.

    Raises archive.LayoutError.
    """
    template = environment.key_template + archive.MASTERS_TEMPLATE.removeprefix("backups")

    def named(*, later: bool) -> str:
        zone = timezone.get_default_timezone()
        return archive.object_stem(template, environment=environment.slug, prefix="", at=at, zone=zone, later=later)

    first = named(later=False)
    if Generation.objects.filter(bucket=environment.r2_bucket, stem=first).exists():
        return named(later=True)
    return first
