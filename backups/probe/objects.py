"""R2: puts that never overwrite, locks, listings, and unfinished uploads."""

from backups.bucket import lock_rules
from backups.bucket.store import AccessRefused, ObjectConflict, ObjectLocked, ObjectMissing
from backups.probe.bench import Bench
from backups.probe.findings import Behaviour, ProbeSeen, differs, judged, same, unknown
from backups.retention.erasure import erase_probe_permanently
from kvops import clock
from kvops.cloudflare import ApiError

ONE, OTHER = b'{"kvops": "probe"}', b'{"kvops": "other"}'
LISTED = 5
UNTIMED = (
    "The endpoint sends no Date. Nothing stops for it, but only the clock of Cloudflare's API is compared with the"
    " database's."
)


def locks(bench: Bench) -> bool:
    """Whether a lock of the scratch bucket covers the objects of this run."""
    rules = bench.reader.bucket_locks(bench.target.bucket)
    found = lock_rules.locked_until_by(rules, bench.object(""), clock.now())
    return found.forever or found.until is not None


def _put(bench: Bench) -> ProbeSeen:
    key = bench.object("one.json")
    info = bench.store.put(key, ONE)
    got = bench.store.get(key)
    return judged(got == ONE and info.size == len(ONE), f"{info.size} bytes, read back {got == ONE}")


def _conditional(bench: Bench) -> ProbeSeen:
    key = bench.object("conditional.json")
    bench.store.put(key, ONE)
    try:
        bench.store.put(key, OTHER)
    except ObjectConflict as error:
        kept = bench.store.get(key) == ONE
        return judged(kept, f"{error} The first bytes {'stay' if kept else 'are gone'}.")
    return differs("the second put was accepted")


def _again(bench: Bench) -> ProbeSeen:
    key = bench.object("again.json")
    first, second = bench.store.put(key, ONE), bench.store.put(key, ONE)
    return judged(first == second, f"etag {first.etag}, then {second.etag}")


def _missing(bench: Bench) -> ProbeSeen:
    try:
        bench.store.get(bench.object("missing.json"))
    except ObjectMissing as error:
        return judged(bench.store.head(bench.object("missing.json")) is None, str(error))
    return differs("200 with an object")


def _listing(bench: Bench) -> ProbeSeen:
    keys = [bench.object(f"list/{n} 日本.json") for n in range(LISTED)]
    for key in reversed(keys):
        bench.store.put(key, ONE)
    prefix = bench.object("list/")
    first = bench.store.page(prefix, limit=2)
    rest = bench.store.page(prefix, after=first.objects[-1].key if first.objects else "")
    found = [one.key for one in (*first.objects, *rest.objects)]
    words = f"{len(first.objects)} and then {len(rest.objects)} names, more: {first.more}, {rest.more}"
    return judged(found == keys and first.more and not rest.more, words)


def _uploads(bench: Bench) -> ProbeSeen:
    key = bench.object("upload.json")
    upload = bench.store.begin_upload(key)
    try:
        listed = [(one.key, one.upload_id) for one in bench.store.uploads(bench.object(""))]
    finally:
        bench.store.abort_upload(key, upload)
    left = bench.store.uploads(bench.object(""))
    return judged(listed == [(key, upload)] and not left, f"{len(listed)} listed, {len(left)} after the abort")


def _locked(bench: Bench) -> ProbeSeen:
    try:
        if not locks(bench):
            return unknown("No lock of the bucket covers the objects of this probe.")
    except ApiError as error:
        return unknown(f"The rules of the bucket cannot be read. {error}")
    key = bench.object("locked.json")
    bench.store.put(key, ONE)
    try:
        erase_probe_permanently(bench.store, bench.prefix, key)
    except ObjectLocked as error:
        pass_on = str(error)
    except AccessRefused as error:
        return differs(str(error))
    else:
        return differs("the locked object was deleted")
    try:
        bench.store.put(key, OTHER)
    except ObjectConflict:
        return judged(bench.store.get(key) == ONE, pass_on)
    return differs("the locked object was overwritten")


def _clock(bench: Bench) -> ProbeSeen:
    return same("told") if bench.store.time() is not None else unknown(UNTIMED)


R2 = (
    Behaviour("R2: put and get", "the same bytes, and their size", "No backup can be verified.", _put),
    Behaviour(
        "R2: put over an object",
        "refused with 412, and the first bytes stay",
        "A backup could be overwritten by another one. Do not back up into this bucket.",
        _conditional,
    ),
    Behaviour("R2: same put again", "found as it is", "A backup whose answer was lost cannot continue.", _again),
    Behaviour("R2: missing object", "404", "A lost part of a backup is reported as no answer.", _missing),
    Behaviour(
        "R2: listing",
        "byte order, continued after a name, and whether more follow",
        "Lost and foreign objects of a bucket are not found, or found wrongly.",
        _listing,
    ),
    Behaviour(
        "R2: unfinished uploads",
        "an upload in parts is listed until it is aborted",
        "/storage/ does not show what other tools left unfinished.",
        _uploads,
    ),
    Behaviour(
        "R2: lock",
        "a locked object is neither deleted nor overwritten",
        "Backups are not protected. KVOps must not delete keys with such a bucket.",
        _locked,
    ),
    Behaviour("R2: Date", "answers tell the time", "The clock of R2 is compared with nothing.", _clock),
)
