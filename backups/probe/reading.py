"""Reads of KV: envelopes, errors, lists, bulk reads, and names and values that are odd."""

import json
from itertools import pairwise
from uuid import uuid4

from backups.probe.bench import Bench
from backups.probe.findings import Behaviour, ProbeSeen, differs, judged, same, unknown
from backups.probe.writing import BIG, BINARY, BOM, GOT, LISTED, ODD, REFUSABLE
from kvops.cloudflare import (
    ApiError,
    AuthError,
    CursorRefused,
    KeyNotFound,
    KvEntry,
    ListedKey,
    NameRefused,
    NotFound,
    TooLarge,
)


def _missing_key(bench: Bench) -> ProbeSeen:
    try:
        bench.reader.value(bench.namespace, bench.key("missing"))
    except KeyNotFound as error:
        return same(str(error))
    return differs("200 with a value")


def _missing_namespace(bench: Bench) -> ProbeSeen:
    try:
        bench.reader.list_keys(uuid4().hex)
    except KeyNotFound as error:
        return differs(str(error))
    except NotFound as error:
        return same(str(error))
    return differs("200 with a list")


def _unknown_token(bench: Bench) -> ProbeSeen:
    try:
        bench.unknown.namespace(bench.namespace)
    except AuthError as error:
        return judged(error.token_unknown, str(error))
    return differs("200")


def _bad_cursor(bench: Bench) -> ProbeSeen:
    try:
        bench.reader.list_keys(bench.namespace, prefix=bench.prefix, cursor="not-a-cursor")
    except CursorRefused as error:
        return same(str(error))
    return differs("200 with a list")


def _listed(bench: Bench) -> tuple[list[ListedKey], int]:
    """All keys of the list under test, in pages of 10, and the number of pages."""
    keys: list[ListedKey] = []
    cursor: str | None = None
    pages = 0
    while pages == 0 or (cursor and pages < LISTED):
        page = bench.reader.list_keys(bench.namespace, prefix=bench.key("list:"), cursor=cursor, limit=10)
        keys += page.keys
        cursor, pages = page.cursor, pages + 1
    return keys, pages


def _pages(bench: Bench) -> ProbeSeen:
    keys, pages = _listed(bench)
    wanted = {name for name in bench.values if name.startswith(bench.key("list:"))}
    names = [key.name for key in keys]
    return judged(
        set(names) == wanted and len(names) == LISTED and pages > 1, f"{len(names)} names in {pages} pages of 10"
    )


def _order(bench: Bench) -> ProbeSeen:
    names = [key.name.encode() for key in _listed(bench)[0]]
    wrong = next(((a, b) for a, b in pairwise(names) if a >= b), None)
    return same("byte order of UTF-8") if wrong is None else differs(f"{wrong[0]!r} stands before {wrong[1]!r}")


def _list_metadata(bench: Bench) -> ProbeSeen:
    for key in bench.reader.list_keys(bench.namespace, prefix=bench.key("list:")).keys:
        wanted = bench.values[key.name].metadata
        if json.loads(key.metadata or "null") != json.loads(wanted or "null"):
            return differs(f"{key.name!r} has {key.metadata}, not {wanted}")
    return same("each name has the metadata that was written")


def _metadata(bench: Bench) -> ProbeSeen:
    names = [bench.key(f"list:{n:03}") for n in range(5)]
    bulk = bench.reader.bulk_get(bench.namespace, names)
    for name in names:
        wanted = json.loads(bench.values[name].metadata or "null")
        entry = bulk[name]
        single = bench.reader.metadata(bench.namespace, name)
        got = None if entry is None else entry.metadata
        if [json.loads(told or "null") for told in (single, got)] != [wanted, wanted]:
            return differs(f"{name!r}: single {single}, bulk {got}, written {bench.values[name].metadata}")
    return same("object, text, numbers and false as written")


def _hundred(bench: Bench) -> ProbeSeen:
    names = [bench.key(f"get:{n:03}") for n in range(GOT)]
    values = bench.reader.bulk_answer(bench.namespace, names)["result"]["values"]
    good = [name for name in names if (values.get(name) or {}).get("value") == bench.values[name].data.decode()]
    return judged(len(good) == len(names), f"{len(good)} of {len(names)} values in one answer")


def _too_many(bench: Bench) -> ProbeSeen:
    try:
        answer = bench.reader.bulk_answer(bench.namespace, [bench.key(f"get:{n:03}") for n in range(GOT + 1)])
    except ApiError as error:
        return judged(error.status == 400, str(error))
    return differs(f"200 with {len(answer['result']['values'])} values")


def _null(bench: Bench) -> ProbeSeen:
    there, missing = bench.key("get:050"), bench.key("missing-in-bulk")
    values = bench.reader.bulk_answer(bench.namespace, [there, missing])["result"]["values"]
    if missing not in values:
        return differs("the missing key is not in the answer")
    return judged(values[missing] is None and values.get(there), f"the missing key is {values[missing]!r}")


def _odd_lists(bench: Bench) -> ProbeSeen:
    wanted = {bench.key(f"odd:{tail}") for tail in (*ODD, *REFUSABLE)}
    names = {key.name for key in bench.reader.list_keys(bench.namespace, prefix=bench.key("odd:")).keys}
    return judged(names == wanted, f"{len(names & wanted)} of {len(wanted)} names, {len(names - wanted)} others")


def _odd_bulk(bench: Bench) -> ProbeSeen:
    names = [bench.key(f"odd:{tail}") for tail in (*ODD, *REFUSABLE)]
    found = bench.reader.bulk_get(bench.namespace, names)
    wrong = [name for name in names if found[name] != bench.values[name]]
    return judged(not wrong, f"wrong: {wrong}" if wrong else f"{len(names)} values as written")


def _odd_paths(bench: Bench) -> ProbeSeen:
    wrong: list[str] = []
    for tail in ODD:
        name = bench.key(f"odd:{tail}")
        try:
            good = bench.reader.value(bench.namespace, name).data == bench.values[name].data
        except ApiError as error:
            wrong.append(f"{tail!r} ({error})")
        else:
            wrong += [] if good else [f"{tail!r} (another value)"]
    return judged(not wrong, "wrong: " + ", ".join(wrong) if wrong else f"{len(ODD)} values as written")


def _refused_paths(bench: Bench) -> ProbeSeen:
    refused: list[str] = []
    wrong: list[str] = []
    for tail in REFUSABLE:
        name = bench.key(f"odd:{tail}")
        try:
            good = bench.reader.value(bench.namespace, name).data == bench.values[name].data
        except NameRefused:
            refused.append(tail)
        except ApiError as error:
            wrong.append(f"{tail!r} ({error})")
        else:
            wrong += [] if good else [f"{tail!r} (another value)"]
    return judged(not wrong, "wrong: " + ", ".join(wrong) if wrong else f"refused with a page: {refused}")


def _bom(bench: Bench) -> ProbeSeen:
    name = bench.key("bom")
    single = bench.reader.value(bench.namespace, name).data
    bulk = bench.reader.bulk_get(bench.namespace, [name])[name]
    got = None if bulk is None else bulk.data
    lost = {BOM: "kept", BOM[3:]: "lost"}.get(got or b"", "another value")
    return judged(single == BOM and lost != "another value", f"single read {single!r}, in bulk the mark is {lost}")


def _binary(bench: Bench) -> ProbeSeen:
    name = bench.key("binary")
    text = bench.reader.bulk_answer(bench.namespace, [name])["result"]["values"][name]["value"]
    single = bench.reader.value(bench.namespace, name).data
    return judged(single == BINARY and "\ufffd" in text, f"single read {single!r}, in bulk {text!r}")


def _big(bench: Bench) -> ProbeSeen:
    names = [bench.key("big:1"), bench.key("big:2")]
    for name in names:
        bench.writer.put_value(bench.namespace, KvEntry(name, b"x" * BIG, None, None))
    if bench.until(lambda: len(bench.reader.list_keys(bench.namespace, prefix=bench.key("big:")).keys) == 2) is None:
        return unknown("The two values of 13 MiB are still not listed.")
    try:
        found = bench.reader.bulk_answer(bench.namespace, names)["result"]["values"]
    except TooLarge as error:
        return same(str(error))
    sizes = [len((found.get(name) or {}).get("value") or "") for name in names]
    return judged(sizes == [BIG, BIG], f"200 with {sizes} characters")


def _ratelimit(bench: Bench) -> ProbeSeen:
    told = [remaining for remaining in bench.allowance.told if remaining is not None]
    words = f"{len(told)} of {len(bench.allowance.told)} answers tell it"
    return judged(told, f"{words}; {min(told)} left at least" if told else words)


def _date(bench: Bench) -> ProbeSeen:
    return judged(bench.reader.time() is not None, "told" if bench.reader.time() is not None else "not told")


WRONG_ERROR = "Scans and deletions take one error for another, and name the wrong cure."
LISTS = "Scans, and so backups and deletions, see too many or too few keys."
READS = (
    Behaviour(
        "missing key",
        "404 with code 10009",
        "A missing key is an error: reads before a delete and read-backs stop.",
        _missing_key,
    ),
    Behaviour(
        "missing namespace",
        "404 with another code than 10009",
        "A lost namespace looks like a deleted key: a deletion could be called proven.",
        _missing_namespace,
    ),
    Behaviour("unknown token", "401", WRONG_ERROR, _unknown_token),
    Behaviour(
        "list: cursor and prefix", f"{LISTED} names in pages of 10, each once, none outside the prefix", LISTS, _pages
    ),
    Behaviour(
        "list: order",
        "byte order of UTF-8",
        "Scans compare two ordered lists: keys are taken for new or gone.",
        _order,
    ),
    Behaviour(
        "list: metadata", "each name with its metadata", "Scans show and classify wrong metadata.", _list_metadata
    ),
    Behaviour(
        "list: bad cursor", "400", "A scan whose cursor expired does not start again, or loses keys.", _bad_cursor
    ),
    Behaviour(
        "metadata", "bulk get and the metadata call tell it as written", "Backups hold other metadata.", _metadata
    ),
    Behaviour(
        "bulk get: 100 names", "all in one answer", "Backups and reads before a delete fail on each batch.", _hundred
    ),
    Behaviour(
        "bulk get: 101 names", "400", "Cloudflare takes more names: backups could be faster. Nothing breaks.", _too_many
    ),
    Behaviour(
        "bulk get: missing key",
        "null",
        "Proofs of a deletion read each missing key singly, which spends the request budget.",
        _null,
    ),
    Behaviour(
        "bulk get: over 25 MiB",
        "413, or both values whole",
        "Backups of large values stop: the batch is halved only after a 413.",
        _big,
    ),
    Behaviour("odd names: list", "each name as written, and no other", LISTS, _odd_lists),
    Behaviour("odd names: bulk get", "each value as written", "Backups of odd names hold other values.", _odd_bulk),
    Behaviour(
        "odd names: single read",
        "each value as written",
        "Binary and large values of such names cannot be backed up.",
        _odd_paths,
    ),
    Behaviour(
        "names like an attack",
        "single reads answer the value, or 403 with a page",
        "The fallback to a bulk read does not begin: backups of such names stop.",
        _refused_paths,
    ),
    Behaviour(
        "byte order mark",
        "a single read has it; a bulk get has it or drops it",
        "Backups of values with a byte order mark hold other bytes.",
        _bom,
    ),
    Behaviour(
        "bytes that are not UTF-8",
        "a single read is exact; a bulk get puts U+FFFD in their place",
        "Damaged values are not noticed in a bulk get: backups hold wrong bytes.",
        _binary,
    ),
)
LAST_READS = (
    Behaviour(
        "Ratelimit",
        "answers tell the remaining requests",
        "KVOps does not make room for colleagues who use the same user's limit.",
        _ratelimit,
    ),
    Behaviour("Date", "answers tell the time", "A wrong clock is not noticed, and deletions go on with it.", _date),
)
"""The headers of all answers, looked at when the others are over."""
