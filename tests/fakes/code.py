"""Deployed code of an account: Workers with their versions, and Pages projects."""

from dataclasses import dataclass, field
from uuid import UUID


def version_id(number: int) -> str:
    """The id of a version."""
    return str(UUID(int=(4 << 76) | (8 << 60) | number))


@dataclass
class FakeVersion:
    """A version: its bindings (name to namespace), modules (name to content, and type if no JavaScript), and commit."""

    id: str
    etag: str
    kv: dict[str, str]
    modules: dict[str, bytes]
    commit: str = ""
    types: dict[str, str] = field(default_factory=dict)


@dataclass
class FakeWorker:
    """A Worker; `active` has the ids of the versions that run."""

    name: str
    versions: dict[str, FakeVersion] = field(default_factory=dict)
    active: list[str] = field(default_factory=list)
    deployments: int = 0

    def upload(self, kv: dict[str, str], source: str = "", *, commit: str = "") -> FakeVersion:
        """One more version, not deployed yet."""
        number = len(self.versions) + 1
        made = FakeVersion(version_id(number), f"etag-{number}", kv, {"index.js": source.encode()}, commit)
        self.versions[made.id] = made
        return made

    def deploy(self, *versions: FakeVersion) -> None:
        """Let these versions run from now on."""
        self.active, self.deployments = [version.id for version in versions], self.deployments + 1


@dataclass
class FakeProject:
    """A Pages project: its production deployment and the namespaces that production binds."""

    name: str
    kv: dict[str, str]
    commit: str = ""
    dirty: bool = False
    deployment: str = "deployment-1"
    stage: tuple[str, str] = ("deploy", "success")
    preview_kv: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FakeAudited:
    """One entry of the audit log. `actor` is as the API gives it, `at` in seconds since 1970."""

    at: float
    method: str
    uri: str
    actor: dict[str, str]


@dataclass
class FakeCode:
    """All deployed code of an account, with what Cloudflare recorded about it."""

    workers: dict[str, FakeWorker] = field(default_factory=dict)
    projects: dict[str, FakeProject] = field(default_factory=dict)
    audited: list[FakeAudited] = field(default_factory=list)

    def worker(self, name: str, kv: dict[str, str], source: str = "", *, commit: str = "") -> FakeWorker:
        """A Worker with one deployed version."""
        made = self.workers[name] = FakeWorker(name)
        made.deploy(made.upload(kv, source, commit=commit))
        return made

    def project(self, name: str, kv: dict[str, str], commit: str = "") -> FakeProject:
        """A Pages project whose production deployment succeeded."""
        made = self.projects[name] = FakeProject(name, kv, commit)
        return made
