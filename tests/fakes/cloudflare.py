"""A Cloudflare of our own: the documented routes over real HTTP, faults on demand, and a journal.

The journal is the independent truth of every test: what was asked, and which value each deleted key
had at that moment.
"""

import json
import re
import sqlite3
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.utils import formatdate
from math import ceil
from threading import RLock
from types import TracebackType
from typing import Literal, Self
from uuid import uuid4

from tests.fakes import audit_api, code_api, faults
from tests.fakes.cloudflare_api import Answered, Api, ApiProblem, Context, FakeBucket, decoded
from tests.fakes.code import FakeCode
from tests.fakes.http import Reply, Request, Server
from tests.fakes.namespaces import Derived, FakeNamespace, Item, Stored
from tests.fakes.past import Remembering

Permission = Literal["read", "write", "d1", "kv"]
WINDOW = 300.0  # seconds

_BASE = "/client/v4"
_KV = "/storage/kv/namespaces"
_SCRIPT = "/workers/scripts/([^/]+)"
_READS, _WRITES, _SQL = {"read", "write", "kv"}, {"write"}, {"read", "d1", "kv"}
_CODE = {"read"}
_TOKENS = {"read", "write", "kv", "d1"}
_ROUTES: list[tuple[str, str, str, set[str], Callable[[Api, Context], Reply]]] = [
    ("namespaces", "GET", _KV, _READS, Api.list_namespaces),
    ("namespace", "GET", f"{_KV}/([^/]+)", _READS, Api.get_namespace),
    ("delete_namespace", "DELETE", f"{_KV}/([^/]+)", _WRITES, Api.delete_namespace),
    ("keys", "GET", f"{_KV}/([^/]+)/keys", _READS, Api.list_keys),
    ("value", "GET", f"{_KV}/([^/]+)/values/([^/]+)", _READS, Api.get_value),
    ("put_value", "PUT", f"{_KV}/([^/]+)/values/([^/]+)", _WRITES, Api.put_value),
    ("delete_value", "DELETE", f"{_KV}/([^/]+)/values/([^/]+)", _WRITES, Api.delete_value),
    ("metadata", "GET", f"{_KV}/([^/]+)/metadata/([^/]+)", _READS, Api.get_metadata),
    ("bulk_get", "POST", f"{_KV}/([^/]+)/bulk/get", _READS, Api.bulk_get),
    ("bulk_put", "PUT", f"{_KV}/([^/]+)/bulk", _WRITES, Api.bulk_put),
    ("bulk_delete", "POST", f"{_KV}/([^/]+)/bulk/delete", _WRITES, Api.bulk_delete),
    ("bulk_delete_old", "DELETE", f"{_KV}/([^/]+)/bulk", _WRITES, Api.bulk_delete),
    ("databases", "GET", "/d1/database", _SQL, Api.list_databases),
    ("query", "POST", "/d1/database/([^/]+)/query", _SQL, Api.run_query),
    ("bucket_lock", "GET", "/r2/buckets/([^/]+)/lock", _READS, Api.bucket_lock),
    ("bucket_lifecycle", "GET", "/r2/buckets/([^/]+)/lifecycle", _READS, Api.bucket_lifecycle),
    ("managed_domain", "GET", "/r2/buckets/([^/]+)/domains/managed", _READS, Api.managed_domain),
    ("custom_domains", "GET", "/r2/buckets/([^/]+)/domains/custom", _READS, Api.custom_domains),
    ("scripts", "GET", "/workers/scripts", _CODE, code_api.list_scripts),
    ("deployments", "GET", f"{_SCRIPT}/deployments", _CODE, code_api.list_deployments),
    ("version", "GET", f"{_SCRIPT}/versions/([^/]+)", _CODE, code_api.get_version),
    ("modules", "GET", "/workers/workers/([^/]+)/versions/([^/]+)", _CODE, code_api.get_modules),
    ("audit_log", "GET", "/logs/audit", _CODE, audit_api.list_entries),
    ("builds", "GET", "/builds/builds", _CODE, code_api.list_builds),
    ("verify_account_token", "GET", "/tokens/verify", _TOKENS, Api.verify_token),
    ("pages_projects", "GET", "/pages/projects", _CODE, code_api.list_projects),
    ("pages_project", "GET", "/pages/projects/([^/]+)", _CODE, code_api.get_project),
]
ROUTES = frozenset({"verify_token", *(route[0] for route in _ROUTES)})


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One line of the journal. `deleted`: name to the SHA-256 of its value then, None if absent.

    `written`: name to that of the new value; `replaced`: to that of a value which was there before.
    `beside`: to the new expiration, and the new metadata as JSON with sorted members.
    `read`: for each deleted or written name what its last read was told before, however old that was; derived
    namespaces do not know.

    `route` is "unknown" for what is not documented; `status` 0 means no answer was given.
    """

    method: str
    route: str
    path: str
    status: int
    account: str
    namespace: str
    deleted: dict[str, str | None]
    written: dict[str, str]
    at: float
    replaced: dict[str, str] = field(default_factory=dict)
    read: dict[str, Answered] = field(default_factory=dict)
    beside: dict[str, tuple[int | None, str | None]] = field(default_factory=dict)


class FakeCloudflare:
    """Start it (or use it with `with`), add accounts' things, point a client at `base_url`.

    `quota`: requests that the user of all tokens may make in 300 s, over all accounts, before 429; None for no limit.
    `port`: where it serves if it can.
    """

    def __init__(self, *, quota: int | None = None, port: int = 0) -> None:
        self.journal: list[ApiCall] = []
        self.latency = 0.0  # seconds before each answer
        self.quota = quota
        self.dates: Callable[[], float] = time.time  # what the Date of an answer says
        self._api = Api()
        self._api.clock = time.time
        self._tokens: dict[str, tuple[str, Permission]] = {}
        self.owned_by_accounts: set[str] = set()
        self._faults: list[faults.ApiFault] = []
        self._hooks: dict[str, list[Callable[[Request], None]]] = defaultdict(list)
        self._bends: dict[str, list[Callable[[Request, Reply], Reply]]] = defaultdict(list)
        self._recent: deque[float] = deque()
        self._lock = RLock()
        self._server = Server(self._answer)
        self._port = port

    def start(self) -> None:
        """Serve on a loopback port."""
        self.base_url = self._server.start(self._port) + _BASE

    def stop(self) -> None:
        """Stop serving; raises what went wrong inside the fake itself."""
        self._server.stop()
        for _, _, database in self._api.databases.values():
            database.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # The estate

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds since 1970; assign another function to move the fake in time."""
        return self._api.clock

    @clock.setter
    def clock(self, clock: Callable[[], float]) -> None:
        self._api.clock = clock

    @property
    def lag(self) -> Callable[[str, str], float] | None:
        """How old the answer to the next read (route, name) is, in seconds; None for never. See `past.Lag`."""
        return self._api.lag

    @lag.setter
    def lag(self, lag: Callable[[str, str], float] | None) -> None:
        self._api.lag = lag

    def revoke_token(self, token: str) -> None:
        """The token is known no longer."""
        del self._tokens[token]

    def add_token(self, token: str, *, account: str, permission: Permission) -> None:
        """A token: `read` for everything, `kv` for all but code, `write` for KV and the guards of R2, `d1` for D1."""
        self._tokens[token] = (account, permission)

    def add_namespace(self, account: str, namespace_id: str, title: str) -> Stored:
        """An empty namespace."""
        namespace = Stored(account, namespace_id, title)
        self._api.namespaces[namespace_id] = namespace
        return namespace

    def add_remembering(self, account: str, namespace_id: str, title: str) -> Remembering:
        """An empty namespace that can lag, and whose deleted keys can return."""
        namespace = Remembering(account, namespace_id, title, self._now)
        self._api.namespaces[namespace_id] = namespace
        return namespace

    def add_derived(
        self,
        account: str,
        namespace_id: str,
        title: str,
        *,
        count: int,
        seed: int = 0,
        prefix: str = "master:",
        value_size: int = 1024,
    ) -> Derived:
        """A namespace of any size whose keys are computed, not stored."""
        namespace = Derived(
            account,
            namespace_id,
            title,
            count=count,
            seed=seed,
            prefix=prefix,
            value_size=value_size,
        )
        self._api.namespaces[namespace_id] = namespace
        return namespace

    def add_database(self, account: str, database_id: str, name: str, script: str = "") -> sqlite3.Connection:
        """A D1 database set up by a script; the connection is for the test to change it."""
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        connection.executescript(script)
        self._api.databases[database_id] = (account, name, connection)
        return connection

    def add_bucket(self, account: str, name: str, *, locked: str = "") -> FakeBucket:
        """A private bucket that lets copies of investigations go; with `locked`, a rule keeps what is there 30 days."""
        bucket = FakeBucket()
        bucket.expire("investigations/", days=30)
        bucket.expire("proposals/", days=30)
        if locked:
            bucket.lock(locked, days=30)
        self._api.buckets[account, name] = bucket
        return bucket

    def code(self, account: str) -> FakeCode:
        """The deployed code of an account, for the test to add to it and change it."""
        return self._api.code.setdefault(account, FakeCode())

    def bucket(self, account: str, name: str) -> FakeBucket:
        """A bucket's guards, for the test to change them."""
        return self._api.buckets[account, name]

    def lose_namespace(self, namespace_id: str) -> None:
        """Somebody deletes a namespace in Cloudflare's dashboard."""
        del self._api.namespaces[namespace_id]

    def namespace(self, namespace_id: str) -> FakeNamespace:
        """A namespace by its id."""
        return self._api.namespaces[namespace_id]

    def put(
        self,
        namespace_id: str,
        name: str,
        data: bytes,
        expiration: int | None = None,
        metadata: object = None,
    ) -> None:
        """Write a key past the API; metadata as JSON text, or as something to be written as JSON."""
        text = metadata if metadata is None or isinstance(metadata, str) else json.dumps(metadata)
        with self._lock:
            self.namespace(namespace_id).put(Item(name, data, expiration, text))

    def get(self, namespace_id: str, name: str) -> Item | None:
        """A key as it is now."""
        with self._lock:
            return self.namespace(namespace_id).get(name)

    def last_read(self, namespace_id: str, name: str) -> Answered | None:
        """What the last read of a key was told; None before the first, and where nothing is stored."""
        return self._api.reads.get((namespace_id, name))

    def remove(self, namespace_id: str, name: str) -> None:
        """Remove a key past the API."""
        with self._lock:
            self.namespace(namespace_id).delete(name)

    # The script

    def refuse_in_paths(self, *names: str) -> None:
        """As Cloudflare's edge does for names like `...`: their single reads answer 403 with a page."""
        self._api.refused_names.update(names)

    def fault(
        self,
        route: str,
        kind: str,
        *,
        nth: int = 1,
        times: int = 1,
        seconds: float = 1.0,
        as_date: bool = False,
        names: Collection[str] | None = None,
        status: int = 503,
        code: int = 10001,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Let the nth next call of a route (and `times` in all) go wrong; kinds are in `faults`.

        `seconds`: of Retry-After (`as_date` for its date form) or of silence; `names`: for partial;
        `status`, `code` and `headers` (a `Date` among them is the server's clock): of a refusal.
        """
        if route not in ROUTES or kind not in faults.REPLACING | faults.THEN.keys() | faults.CHANGING:
            raise ValueError(f"there is no {kind!r} on {route!r}")
        fault = faults.ApiFault(route, kind, nth, times, seconds, as_date, names, status, code, headers or {})
        with self._lock:
            self._faults.append(fault)

    def hook(self, route: str, act: Callable[[Request], None]) -> None:
        """Let `act` run before every call of a route is handled."""
        if route not in ROUTES:
            raise ValueError(f"there is no route {route!r}")
        self._hooks[route].append(act)

    def bend(self, route: str, act: Callable[[Request, Reply], Reply]) -> None:
        """Let `act` change every answer of a route: the service behaves otherwise than documented."""
        if route not in ROUTES:
            raise ValueError(f"there is no route {route!r}")
        self._bends[route].append(act)

    def heal(self) -> None:
        """Take back every fault, hook and bend."""
        with self._lock:
            self._faults.clear()
            self._bends.clear()
            self._hooks.clear()

    def forget(self) -> None:
        """Begin anew with the same estate: healed, no journal, no reads, no lag."""
        self.heal()
        with self._lock:
            self.journal.clear()
            self._api.reads.clear()
            self._api.lag = None

    def journal_routes(self) -> set[tuple[str, str]]:
        """The methods and routes that were ever asked for."""
        return {(call.method, call.route) for call in self.journal}

    def calls(self, route: str) -> list[ApiCall]:
        """The journal's lines of one route."""
        return [call for call in self.journal if call.route == route]

    # Answering

    def _answer(self, request: Request) -> Reply:
        account, route, segments, allowed, act = _find(request)
        for hook in self._hooks[route]:
            hook(request)
        self._server.pause(self.latency)
        with self._lock:
            fault = next((f for f in list(self._faults) if f.due(route)), None)
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            owner, permission = self._owner(token, route)
            account = owner if route == "verify_token" else account
            target, name = [*segments, "", ""][:2]
            context = Context(request, account, target, name, permission, fault)
            if fault and fault.kind in faults.REPLACING:
                reply = faults.REPLACING[fault.kind](fault)
            elif route == "unknown":
                reply = faults.failure(404, 7000, "No route for that URI")
            elif not permission:
                reply = faults.failure(401, 10000, "Authentication error")
            elif owner != account or permission not in allowed:
                reply = faults.failure(403, 10000, "Authentication error")
            elif (left := self._left()) < 0:
                reply = faults.failure(429, 971, "Please wait")
                reply.headers["Retry-After"] = f"{-left:.0f}"
            else:
                reply = _act(self._api, act, context)
                if fault and fault.kind in faults.THEN:
                    reply = faults.THEN[fault.kind](fault)
            self._note(context, route, reply)
            reply.headers.setdefault("Date", formatdate(self.dates(), usegmt=True))
            reply.headers["cf-ray"] = f"{uuid4().hex[:16]}-FAKE"
            if "text/html" not in reply.headers.get("Content-Type", ""):
                quota = self.quota or 1200
                reply.headers["Ratelimit"] = f'"default";r={max(quota - len(self._recent), 0)};t={self._reset()}'
                reply.headers["Ratelimit-Policy"] = f'"default";q={quota};w=300'
            for bend in self._bends[route]:
                reply = bend(request, reply)
        return reply

    def _owner(self, token: str, route: str) -> tuple[str, str]:
        """The account of a token and its permission; as a user's token, one that an account owns is unknown."""
        unknown = route == "verify_token" and token in self.owned_by_accounts
        return ("", "") if unknown else self._tokens.get(token, ("", ""))

    def _now(self) -> float:
        return self._api.clock()

    def colleague(self, calls: int) -> None:
        """Let another tool of the same user make so many calls now."""
        with self._lock:
            for _call in range(calls):
                self._left()

    def _left(self) -> float:
        """Count a call; the calls left, or minus the seconds until there are some again."""
        if self.quota is None:
            return 1.0
        now, recent = self.clock(), self._recent
        while recent and recent[0] <= now - WINDOW:
            recent.popleft()
        if len(recent) >= self.quota:
            return -(recent[0] + WINDOW - now)
        recent.append(now)
        return float(self.quota - len(recent))

    def _reset(self) -> int:
        """Whole seconds until the oldest counted call leaves the window."""
        return ceil(self._recent[0] + WINDOW - self.clock()) if self._recent else 300

    def _note(self, context: Context, route: str, reply: Reply) -> None:
        request = context.request
        self.journal.append(
            ApiCall(
                request.method,
                route,
                request.path,
                reply.status,
                context.account,
                context.target,
                context.deleted,
                context.written,
                self.clock(),
                context.replaced,
                context.read,
                context.beside,
            )
        )


def route_of(method: str, path: str) -> str:
    """The name of the documented route a call takes."""
    return _find(Request(method, path, "", Message(), b""))[1]


def _find(
    request: Request,
) -> tuple[str, str, list[str], set[str], Callable[[Api, Context], Reply]]:
    if (request.method, request.path) == ("GET", f"{_BASE}/user/tokens/verify"):
        return "", "verify_token", [], _TOKENS, Api.verify_token
    for route, method, pattern, allowed, act in _ROUTES:
        found = re.fullmatch(f"{_BASE}/accounts/([^/]+){pattern}", request.path)
        if found and method == request.method:
            try:
                account, *segments = decoded(found.groups())
            except ApiProblem:
                break
            return account, route, segments, allowed, act
    return "", "unknown", [], set(), Api.list_namespaces


def _act(api: Api, act: Callable[[Api, Context], Reply], context: Context) -> Reply:
    try:
        return act(api, context)
    except ApiProblem as problem:
        return faults.failure(problem.status, problem.code, problem.message)
