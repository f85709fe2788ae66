"""Writes and deletes of KV: their answers, expirations, and the time until a change is seen."""

import json
import time
from typing import Any

from backups.probe.bench import Bench
from backups.probe.findings import Behaviour, ProbeSeen, differs, judged, same
from kvops.cloudflare import ApiError, AuthError, KeyNotFound, KvEntry

LISTED = 25
GOT = 100
ODD = (
    "a b",
    "a/b",
    "//",
    "%2F%2e%2e",
    "?a=b",
    "#",
    "+",
    "\\",
    "'\"<>",
    "日本語",
    "😀",
    "\u30ab\u3099",
    "__proto__",
    "\x1f",
)
REFUSABLE = ("...", "../../etc/passwd", "<script>alert(1)</script>", "' OR 1=1 --")
"""Tails of names that Cloudflare's firewall may take for an attack when they stand in a path."""
LAST = ("~\uff5e", "~\U0001f600")
"""Two names in the order of their UTF-8 bytes. UTF-16 has them the other way round."""
METADATA = ('{"b": 1, "a": [true, null, "日本"]}', '"text"', "12", "1.5", "false")
BINARY = b"\xff\xfe\x00kvops"
BOM = b"\xef\xbb\xbftext"
AHEAD = 3_600
BIG = 13 * 1024 * 1024
"""Bytes. Two such values are over the 25 MiB that one answer of a bulk get may have."""


def _seeds(bench: Bench) -> dict[str, KvEntry]:
    later = int(time.time()) + AHEAD
    tails: dict[str, tuple[bytes, int | None, str | None]] = {
        **{f"list:{n:03}": (b"v", None, METADATA[n % len(METADATA)]) for n in range(LISTED - len(LAST))},
        **{f"list:{tail}": (b"v", None, METADATA[0]) for tail in LAST},
        **{f"get:{n:03}": (b"%d" % n, None, None) for n in range(GOT)},
        **{f"odd:{tail}": (tail.encode(), None, None) for tail in (*ODD, *REFUSABLE)},
        "bom": (BOM, None, None),
        "expiring": (b"v", later, None),
        "over": (b"old", None, "1"),
    }
    return {bench.key(tail): KvEntry(bench.key(tail), *entry) for tail, entry in tails.items()}


def _pair(entry: KvEntry) -> dict[str, object]:
    pair: dict[str, object] = {"key": entry.name, "value": entry.data.decode()}
    if entry.expiration is not None:
        pair["expiration"] = entry.expiration
    if entry.metadata is not None:
        pair["metadata"] = json.loads(entry.metadata)
    return pair


def _judged_bulk(answer: dict[str, Any], sent: int) -> ProbeSeen:
    """The answer of a bulk call of which everything was done."""
    result = answer.get("result") or {}
    named = "absent" if "unsuccessful_keys" not in result else repr(result["unsuccessful_keys"])
    words = f"{result.get('successful_key_count')} of {sent} done, unsuccessful_keys {named}"
    good = answer.get("success") is True and result.get("successful_key_count") == sent
    return judged(good and not result.get("unsuccessful_keys"), words)


def _bulk_put(bench: Bench) -> ProbeSeen:
    bench.values = _seeds(bench)
    seen = _judged_bulk(
        bench.writer.put_answer(bench.namespace, [_pair(entry) for entry in bench.values.values()]), len(bench.values)
    )
    binary = KvEntry(bench.key("binary"), BINARY, None, None)
    outcome = bench.writer.bulk_put(bench.namespace, [binary])
    bench.values[binary.name] = binary
    return seen if outcome.successful_count == 1 else differs(f"base64: {outcome.problem or outcome.unsuccessful}")


def _listed_after_put(bench: Bench) -> ProbeSeen:
    wanted = set(bench.values)

    def there() -> bool:
        page = bench.reader.list_keys(bench.namespace, prefix=bench.prefix)
        return wanted <= {key.name for key in page.keys}

    after = bench.until(there)
    return differs("some names are still not listed") if after is None else same(f"all listed after {after:.1f} s")


def _single_put(bench: Bench) -> ProbeSeen:
    entry = KvEntry(bench.key("single"), BINARY, None, '{"a":[1.0,"日本"]}')
    outcome = bench.writer.put_value(bench.namespace, entry)
    if outcome.successful_count != 1:
        return differs(str(outcome.problem))
    found: KvEntry | None = None

    def there() -> bool:
        nonlocal found
        found = bench.reader.exact_get(bench.namespace, entry.name)
        return found is not None

    if bench.until(there) is None or found is None:
        return differs("the key is still not there")
    exact = found.metadata == entry.metadata
    good = found.data == entry.data and json.loads(found.metadata or "null") == json.loads(entry.metadata or "")
    return judged(good and exact, f"{len(found.data)} bytes, metadata {found.metadata}")


def _overwrite(bench: Bench) -> ProbeSeen:
    name = bench.key("over")
    bench.reader.value(bench.namespace, name)  # so that a cache may have the old value
    bench.writer.bulk_put(bench.namespace, [KvEntry(name, b"new", None, None)])

    def new() -> bool:
        return bench.reader.exact_get(bench.namespace, name) == KvEntry(name, b"new", None, None)

    after = bench.until(new)
    if after is None:
        return differs(f"reads still answer {bench.reader.exact_get(bench.namespace, name)!r}")
    return same(f"value and metadata are new after {after:.1f} s")


def _too_short(bench: Bench) -> ProbeSeen:
    entry = KvEntry(bench.key("short"), b"v", int(time.time()) + 5, None)
    try:
        outcome = bench.writer.bulk_put(bench.namespace, [entry])
    except ApiError as error:
        return judged(error.status == 400, str(error))
    return differs(f"accepted: {outcome.successful_count} written")


def _expiration(bench: Bench) -> ProbeSeen:
    name = bench.key("expiring")
    wanted = bench.values[name].expiration
    [listed] = bench.reader.list_keys(bench.namespace, prefix=name).keys
    bulk = bench.reader.bulk_get(bench.namespace, [name])[name]
    told = (listed.expiration, bulk and bulk.expiration, bench.reader.value(bench.namespace, name).expiration)
    return judged(told == (wanted, wanted, wanted), f"list {told[0]}, bulk get {told[1]}, header {told[2]}")


def _read_token_writes(bench: Bench) -> ProbeSeen:
    name = bench.key("intruder")
    try:
        bench.intruder.bulk_put(bench.namespace, [KvEntry(name, b"v", None, None)])
    except AuthError as error:
        return judged(error.status in (401, 403), str(error))
    return differs("the read token wrote a key")


def _bulk_delete(bench: Bench) -> ProbeSeen:
    names = [bench.key(f"get:{n:03}") for n in range(10)]
    bench.reader.value(bench.namespace, names[0])  # so that a cache may have it
    return _judged_bulk(bench.writer.delete_answer(bench.namespace, names), len(names))


def _gone(bench: Bench) -> ProbeSeen:
    names = [bench.key(f"get:{n:03}") for n in range(10)]
    after: dict[str, float] = {}
    begun = time.monotonic()

    def gone() -> bool:
        if "list" not in after:
            page = bench.reader.list_keys(bench.namespace, prefix=bench.key("get:00"))
            if not page.keys and page.cursor is None:
                after["list"] = time.monotonic() - begun
        if "bulk get" not in after and not any(bench.reader.bulk_get(bench.namespace, names).values()):
            after["bulk get"] = time.monotonic() - begun
        if "get" not in after:
            try:
                bench.reader.value(bench.namespace, names[0])
            except KeyNotFound:
                after["get"] = time.monotonic() - begun
        return len(after) == 3

    good = bench.until(gone) is not None
    told = ", ".join(
        f"{way} after {after[way]:.1f} s" if way in after else f"{way} still has them"
        for way in ("list", "bulk get", "get")
    )
    return judged(good, told)


def _delete_missing(bench: Bench) -> ProbeSeen:
    return _judged_bulk(bench.writer.delete_answer(bench.namespace, [bench.key("never-written")]), 1)


ANSWER = "success, successful_key_count as sent, unsuccessful_keys absent, null or empty"
FIRST = (
    Behaviour("bulk put: answer", ANSWER, "Restores and changes cannot settle their writes.", _bulk_put),
    Behaviour(
        "list after a put",
        "each written name is listed within 2 minutes",
        "Scans, and backups after them, miss new keys for longer than the pages say.",
        _listed_after_put,
    ),
)
"""The behaviours that the others need: they write the keys."""
WRITES = (
    Behaviour(
        "single put with metadata",
        "a form with value and metadata stores the exact bytes, and metadata as it was spelled",
        "Restores and changes of values with metadata do not read back as approved.",
        _single_put,
    ),
    Behaviour(
        "put over a key",
        "value, expiration and metadata are replaced, and reads have the new value within 2 minutes",
        "Restores and changes read back an old value and end as not verified.",
        _overwrite,
    ),
    Behaviour(
        "expiration",
        "list, bulk get and the header of a single read tell the same time",
        "Backups hold a wrong expiration, so restores and bulk changes write a wrong one.",
        _expiration,
    ),
    Behaviour(
        "expiration too near",
        "an expiration less than 60 s ahead is refused with 400",
        "Restores would write keys that are gone before they are read back.",
        _too_short,
    ),
    Behaviour(
        "read token",
        "the read token may not write: 401 or 403",
        "The web server and the scans hold a token that can write: make one with Workers KV Storage Read.",
        _read_token_writes,
    ),
    Behaviour("bulk delete: answer", ANSWER, "Deletions cannot settle their chunks.", _bulk_delete),
    Behaviour(
        "list and get after a delete",
        "deleted names are gone from list, bulk get and get within 2 minutes",
        "Deletions are proven late, or reported as reappeared.",
        _gone,
    ),
    Behaviour(
        "bulk delete of a missing key",
        "counts as done",
        "A repeated deletion of a chunk is reported as contradicting itself.",
        _delete_missing,
    ),
)
