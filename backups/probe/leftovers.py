"""The removal of all that a probe made, now or in a run that broke off."""

from dataclasses import dataclass, field

from backups.bucket.store import NotOffered, ObjectLocked, StoreError
from backups.probe.allowance import RequestsSpent
from backups.probe.bench import Bench
from backups.retention.erasure import erase_probe_permanently
from kvops.cloudflare import CloudflareError


@dataclass
class ProbeLeftovers:
    """The names and objects that are still there after the removal, and the objects that a bucket lock keeps."""

    names: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)


def clean(bench: Bench) -> ProbeLeftovers:
    """Remove all names and objects under the prefix. If that is not known, the reason stands among the names."""
    bench.allowance.cleaning = True
    left = ProbeLeftovers()
    for step in (_clean_keys, _clean_objects, _clean_uploads):
        try:
            step(bench, left)
        except (CloudflareError, StoreError, RequestsSpent) as error:
            left.names.append(f"not known: {error}")
    return left


def _clean_keys(bench: Bench, left: ProbeLeftovers) -> None:
    names: list[str] = []

    def gone() -> bool:
        nonlocal names
        names = [key.name for key in bench.reader.list_keys(bench.namespace, prefix=bench.prefix).keys]
        if names:
            bench.writer.bulk_delete(bench.namespace, names)
        return not names

    bench.until(gone)
    left.names += names


def _clean_objects(bench: Bench, left: ProbeLeftovers) -> None:
    for found in bench.store.page(bench.object("")).objects:
        try:
            erase_probe_permanently(bench.store, bench.prefix, found.key)
        except ObjectLocked:
            left.locked.append(found.key)
        except StoreError:
            left.names.append(found.key)


def _clean_uploads(bench: Bench, _left: ProbeLeftovers) -> None:
    try:
        uploads = bench.store.uploads(bench.object(""))
    except NotOffered:
        return
    for one in uploads:
        bench.store.abort_upload(one.key, one.upload_id)
