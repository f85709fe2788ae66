"""A backup by hand: one `wrangler kv key list`, then a `wrangler kv bulk get` per 100 keys, which is all it takes."""

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from bench.fakes import ACCOUNT, NAMESPACE, READ_TOKEN
from bench.place import BenchInstallation
from sandbox import node
from sandbox.processes import Supervisor

PER_CALL = 100
MEASURED = 10


@dataclass(frozen=True)
class ByHand:
    """Seconds of each part; `note` says what was measured of the second."""

    listing: float
    reading: float
    note: str


def backup(here: BenchInstallation, keys: int) -> ByHand:
    """List all keys and read every tenth hundred of them; the other calls are taken to last as long."""
    with tempfile.TemporaryDirectory(prefix="kvops-bench-") as name, Supervisor(Path(name) / "logs") as supervisor:
        folder = Path(name)
        argv = (str(node.install(supervisor).node), str(node.wrangler()), "kv")
        target = ("--namespace-id", NAMESPACE, "--remote")
        env = node.quiet_environment(folder) | {
            "CLOUDFLARE_API_BASE_URL": here.base_url,
            "CLOUDFLARE_API_TOKEN": READ_TOKEN,
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
        }

        def run(*words: str) -> tuple[str, float]:
            begun = time.perf_counter()
            done = subprocess.run(
                [*argv, *words, *target], env=env, cwd=folder, stdout=subprocess.PIPE, text=True, check=True
            )
            return done.stdout, time.perf_counter() - begun

        listed, listing = run("key", "list")
        names = [key["name"] for key in json.loads(listed)]
        calls = ceil(keys / PER_CALL)
        reading = 0.0
        for start in range(0, keys, keys // MEASURED):
            (folder / "names.json").write_text(json.dumps(names[start : start + PER_CALL]))
            got, seconds = run("bulk", "get", "names.json")
            assert len(json.loads(got)) == PER_CALL, got[:300]
            reading += seconds
    assert len(names) == keys
    return ByHand(listing, reading / MEASURED * calls, f"{MEASURED} of {calls} calls measured, the rest in proportion")
