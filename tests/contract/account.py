"""A real account as a target: its scratch namespace, bucket and database, and the requests that a run may send.

A write returns once the reads show it, because the tests were written for servers that show it at once.
"""

import re
import time
import tomllib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from backups.bucket.deletion import erase_permanently
from backups.bucket.store import NotOffered, ObjectLocked, StoreError
from kvops.cloudflare import Cloudflare, CloudflareError, KvEntry, NameRefused, Unlimited, is_loopback
from kvops.cloudflare.writes import BulkOutcome, KVWriter
from tests.contract.target import Target

SCRATCH = "kvops-contract"
"""The names of the namespace, the bucket and the database begin with it."""
MOST = 3_000
"""Requests of one run."""
PACE, WINDOW = 900, 300.0
"""Requests in so many seconds: Cloudflare takes 1,200 of a user in five minutes, and the user has other work."""
FOR_CLEANING = 60
"""Requests that only the removal of names and objects may use."""
SEEN_WITHIN = 120.0
"""Seconds after which a change that is not seen is a difference."""
NAMES = re.compile(r"contract:[0-9a-f]{12}:.*", re.DOTALL)
OBJECTS = re.compile(r"(.*/)?contract/[0-9a-f]{12}/.*", re.DOTALL)
"""What a run makes."""
FIELDS = ("account_id", "namespace_id", "database_id", "bucket", "read_token", "write_token", "r2_key", "r2_secret")
MARK = b"\xef\xbb\xbf"


class AccountRefused(Exception):
    """The run may not write there, and wrote nothing."""


class AllowanceSpent(Exception):
    """The run has sent all the requests that it may send."""


class Allowance(Unlimited):
    """The requests of a run, to the API and to R2 together."""

    def __init__(self, most: int, sleep: Callable[[float], object] = time.sleep) -> None:
        self.most, self.sent, self.around = most, 0, False
        """`around` is true before and after the tests, where requests are kept and answers are not judged."""
        self._sleep, self._times = sleep, deque[float](maxlen=PACE)

    def take(self, calls: int = 1) -> float:
        """Take requests, and wait for their turn. Raises AllowanceSpent."""
        if self.sent + calls > self.most - (0 if self.around else FOR_CLEANING):
            raise AllowanceSpent(f"The run may send {self.most} requests, and these are spent.")
        self.sent += calls
        for _ in range(calls):
            if len(self._times) == PACE and (wait := self._times[0] + WINDOW - time.monotonic()) > 0:
                self._sleep(wait)
            self._times.append(time.monotonic())
        return 0.0

    @contextmanager
    def around_the_tests(self) -> Iterator[None]:
        """Requests before or after the tests."""
        self.around = True
        try:
            yield
        finally:
            self.around = False


@dataclass
class Seen:
    """The longest times until a change was seen, by its kind."""

    within: float
    longest: dict[str, float] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    """The names of this run, which a cache may still have as they were."""

    def wait(self, kind: str, seen: Callable[[], bool]) -> None:
        """Look again and again. An AssertionError says that nothing is seen in time."""
        begun, pause = time.monotonic(), self.within / 120
        while not seen():
            assert time.monotonic() - begun < self.within, f"a {kind} is not seen after {self.within:.0f} s"
            time.sleep(pause)
            pause = min(pause * 2, self.within / 8)
        self.longest[kind] = max(self.longest.get(kind, 0.0), time.monotonic() - begun)


class ScratchReader(Cloudflare):
    """The reading client. A name that the firewall refuses in a path is read in bulk, as the product does."""

    def exact_get(self, namespace_id: str, name: str) -> KvEntry | None:
        try:
            return super().exact_get(namespace_id, name)
        except NameRefused:
            return self.bulk_get(namespace_id, [name])[name]


class SettledWriter(KVWriter):
    """The writing client. A call returns once the change is seen."""

    reader: Cloudflare
    seen: Seen

    def bulk_put(self, namespace_id: str, entries: Sequence[KvEntry], *, until: float | None = None) -> BulkOutcome:
        outcome = super().bulk_put(namespace_id, entries, until=until)
        self._settle("put", outcome, namespace_id, {entry.name: entry for entry in entries})
        return outcome

    def put_value(self, namespace_id: str, entry: KvEntry, *, until: float | None = None) -> BulkOutcome:
        outcome = super().put_value(namespace_id, entry, until=until)
        self._settle("put", outcome, namespace_id, {entry.name: entry})
        return outcome

    def bulk_delete(self, namespace_id: str, names: Sequence[str], *, until: float | None = None) -> BulkOutcome:
        outcome = super().bulk_delete(namespace_id, names, until=until)
        self._settle("delete", outcome, namespace_id, dict.fromkeys(names))
        return outcome

    def close(self) -> None:
        super().close()
        self.reader.close()

    def _settle(self, kind: str, outcome: BulkOutcome, namespace_id: str, wanted: dict[str, KvEntry | None]) -> None:
        if outcome.successful_count == len(wanted):
            self.seen.wait(kind, lambda: self._is_seen(namespace_id, wanted))
            self.seen.written.update(wanted)

    def _is_seen(self, namespace_id: str, wanted: dict[str, KvEntry | None]) -> bool:
        names = list(wanted)
        page = self.reader.list_keys(namespace_id, prefix=_common(names))
        listed = {key.name for key in page.keys}
        if any((entry is not None) != (name in listed) for name, entry in wanted.items()):
            return False
        found: dict[str, KvEntry | None] = {}
        for start in range(0, len(names), 100):
            found |= self.reader.bulk_get(namespace_id, names[start : start + 100])
        if not all(_is_same(found[name], entry) for name, entry in wanted.items()):
            return False
        again = [name for name in names if name in self.seen.written]
        return all(_is_same(self.reader.exact_get(namespace_id, name), wanted[name]) for name in again[:3])


def _common(names: Sequence[str]) -> str:
    """The longest common beginning of the names."""
    first, last = min(names), max(names)
    return first[: next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), None)]


def _is_same(found: KvEntry | None, wanted: KvEntry | None) -> bool:
    """A bulk get may drop a byte order mark."""
    if found is None or wanted is None:
        return found is wanted
    return found.data in {wanted.data, wanted.data.removeprefix(MARK)}


@dataclass(frozen=True)
class ScratchTarget(Target):
    """The scratch namespace, bucket and database of a real account."""

    budget: Allowance = field(default_factory=lambda: Allowance(MOST))
    seen: Seen = field(default_factory=lambda: Seen(SEEN_WITHIN))

    def reader(self, token: str = "") -> Cloudflare:
        """Our reading client."""
        return self._opened(ScratchReader, token or self.read_token)

    def writer(self, token: str = "") -> KVWriter:
        """Our writing client."""
        client = self._opened(SettledWriter, token or self.write_token)
        client.reader, client.seen = self.reader(), self.seen
        return client

    def plain_writer(self) -> KVWriter:
        """Our writing client, which waits for nothing."""
        return self._opened(KVWriter, self.write_token)

    def judged(self, answer: httpx.Response) -> None:
        """Fail unless the answer is documented. The page of Cloudflare's firewall is no answer of the API."""
        page = answer.status_code == 403 and "html" in answer.headers.get("content-type", "")
        if not page and not self.budget.around:
            super().judged(answer)

    def settle(self, name: str) -> None:
        """Wait until a written name is seen."""
        with self.reader() as reader:
            self.seen.wait("put", lambda: bool(reader.list_keys(self.namespace_id, prefix=name).keys))


def load(path: Path, allowance: str) -> ScratchTarget:
    """The target that a file names. Nothing is sent. Raises AccountRefused."""
    if not allowance.isdecimal() or not FOR_CLEANING < int(allowance) <= MOST:
        raise AccountRefused(f"Say how many requests the run may send, at most {MOST}: ALLOWANCE={MOST}.")
    try:
        told = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AccountRefused(f"{path} cannot be read as a TOML file.") from error
    if missing := [name for name in FIELDS if not isinstance(told.get(name), str) or not told[name]]:
        raise AccountRefused(f"{path} lacks {', '.join(missing)}.")
    if told["read_token"] == told["write_token"]:
        raise AccountRefused("The read and the write token are the same. Make one of each.")
    api = told.get("api", "https://api.cloudflare.com/client/v4")
    r2 = told.get("r2", f"https://{told['account_id']}.r2.cloudflarestorage.com")
    for address, domain in ((api, "api.cloudflare.com"), (r2, "r2.cloudflarestorage.com")):
        host = httpx.URL(address).host
        if not is_loopback(host) and host != domain and not host.endswith(f".{domain}"):
            raise AccountRefused(f"{host} is no host of Cloudflare.")
    return ScratchTarget(
        base_url=api,
        account_id=told["account_id"],
        read_token=told["read_token"],
        write_token=told["write_token"],
        namespace_id=told["namespace_id"],
        database_id=told["database_id"],
        bucket=told["bucket"],
        s3_endpoint=r2,
        s3_key=told["r2_key"],
        s3_secret=told["r2_secret"],
        budget=Allowance(int(allowance)),
        seen=Seen(float(told.get("seen_within", SEEN_WITHIN))),
    )


def insist_scratch(target: ScratchTarget) -> None:
    """Raise AccountRefused unless everything is a scratch one by its name, and holds nothing but what runs left."""
    try:
        around = target.budget.around_the_tests()
        with around, target.reader() as reader, target.reader(target.write_token) as by_write_token:
            by_write_token.namespace(target.namespace_id)
            databases = {one.id: one.name for one in reader.databases()}
            titles = {
                "namespace": reader.namespace(target.namespace_id).title,
                "bucket": target.bucket,
                "database": databases.get(target.database_id, "not there"),
            }
            for kind, title in titles.items():
                if not title.startswith(SCRATCH):
                    raise AccountRefused(f"The {kind} is {title}. Make one whose name begins with {SCRATCH}.")
            names = [key.name for key in reader.list_keys(target.namespace_id).keys]
            objects = _objects(target)
    except (CloudflareError, StoreError) as error:
        raise AccountRefused(f"The run cannot start. {error}") from error
    if others := [name for name in names if not NAMES.fullmatch(name)]:
        raise AccountRefused(f"The namespace holds {others[0]!r}, which no run made. Make an empty one.")
    if others := [key for key in objects if not OBJECTS.fullmatch(key)]:
        raise AccountRefused(f"The bucket holds {others[0]!r}, which no run made. Make an empty one.")


def _objects(target: Target) -> list[str]:
    store = target.store()
    try:
        return [one.key for one in store.page("").objects]
    finally:
        store.close()


@dataclass
class Leftovers:
    """The number of removed names and objects, those still there, and the objects that a lock of the bucket keeps."""

    removed: int = 0
    left: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)


def clean(target: ScratchTarget) -> Leftovers:
    """Remove what this run and earlier ones left. If that is not known, the reason is in `left`."""
    found = Leftovers()
    with target.budget.around_the_tests():
        for step in (_clean_names, _clean_objects):
            try:
                step(target, found)
            except (CloudflareError, StoreError, AllowanceSpent) as error:
                found.left.append(f"not known: {error}")
    return found


def _ours(reader: Cloudflare, target: Target) -> list[str]:
    page = reader.list_keys(target.namespace_id, prefix="contract:")
    return [key.name for key in page.keys if NAMES.fullmatch(key.name)]


def _clean_names(target: ScratchTarget, found: Leftovers) -> None:
    names: list[str] = []
    removed: set[str] = set()
    with target.reader() as reader, target.plain_writer() as writer:

        def gone() -> bool:
            nonlocal names
            names = _ours(reader, target)
            if names:
                writer.bulk_delete(target.namespace_id, names)
                removed.update(names)
            return not names

        try:
            target.seen.wait("delete", gone)
        except AssertionError:
            found.left += names
    found.removed += len(removed.difference(names))


def _clean_objects(target: ScratchTarget, found: Leftovers) -> None:
    store = target.store()
    try:
        for one in store.page("").objects:
            if OBJECTS.fullmatch(one.key):
                try:
                    erase_permanently(store, one.key)
                    found.removed += 1
                except ObjectLocked:
                    found.locked.append(one.key)
        for upload in store.uploads("contract/"):
            store._client.abort_multipart_upload(Bucket=store.bucket, Key=upload.key, UploadId=upload.upload_id)
    except NotOffered:
        return
    finally:
        store.close()


chosen: ScratchTarget | None = None
"""The account that this process runs on; without one, the fake and the sandbox are the targets."""
