"""The parts of the evidence that a deletion and a restore share: the names and the backup they rest on."""

from django.utils.translation import gettext as _

from backups.models import CleanupStage, Generation, Restore
from kvops import wording
from kvops.approvals import evidence
from kvops.approvals.lines import Shown, keys_of, part, time_of
from kvops.operations.registry import look_of

SAMPLE = 20


def names(work: CleanupStage | Restore) -> dict[str, object]:
    """The number of names, their digest, the first, the last, and a sample over all of them."""
    entries = work.entries.order_by("index")
    step = max(1, work.names // SAMPLE)
    wanted = list(range(0, work.names, step))[:SAMPLE]
    first, last = entries.first(), entries.last()
    return {
        "count": work.names,
        "sha256": work.names_sha256,
        "first": first.name if first else "",
        "last": last.name if last else "",
        "sample": list(entries.filter(index__in=wanted).values_list("name", flat=True)),
    }


def backup(generation: Generation) -> dict[str, object]:
    """The backup: its id, its place, its digests and its status."""
    return {
        "id": generation.pk,
        "environment": generation.environment.slug,
        "namespace_id": generation.namespace.namespace_id,
        "bucket": generation.bucket,
        "manifest": generation.manifest_key,
        "manifest_sha256": generation.manifest_sha256,
        "digest_root": generation.digest_root,
        "keys": generation.keys,
        "bytes": wording.stepped(generation.bytes, generation.encrypted),
        "status": generation.status,
        "finished_at": evidence.moment(generation.finished_at),
    }


def word_of(state: object) -> str:
    """The word of a state that evidence has."""
    return str(look_of(str(state)).word)


def backup_in_words(shown: Shown) -> str:
    """The backup, its keys, its end and its state."""
    of = {
        "pk": part(shown, "generation.id"),
        "keys": keys_of(part(shown, "generation.keys")),
        "state": word_of(part(shown, "generation.status")),
        "time": time_of(part(shown, "generation.finished_at")),
    }
    return _("backup %(pk)s, %(keys)s, finished %(time)s: %(state)s") % of
