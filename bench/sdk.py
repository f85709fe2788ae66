"""Cloudflare's own Python SDK, installed into a virtual environment that is thrown away, doing the same backup."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.fakes import NAMESPACE
from bench.place import ROOT, BenchInstallation

REQUIREMENT = "cloudflare>=5,<6"


class NotInstallable(Exception):
    """The SDK cannot be had here; the message says why."""


def backup(here: BenchInstallation) -> dict[str, float]:
    """Seconds of the listing and of all of it, and the keys. Raises NotInstallable."""
    with tempfile.TemporaryDirectory(prefix="kvops-sdk-") as name:
        python = str(Path(name) / "venv" / "bin" / "python")
        for command in (
            [sys.executable, "-m", "venv", str(Path(name) / "venv")],
            [python, "-m", "pip", "install", "--quiet", REQUIREMENT],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise NotInstallable(
                    f"{REQUIREMENT} cannot be installed: {(done.stderr or done.stdout).strip()[-200:]}"
                )
        env = {**here.env, "BENCH_NAMESPACE": NAMESPACE}
        script = [python, str(ROOT / "bench" / "sdk_backup.py"), str(Path(name) / "values.ndjson")]
        printed = subprocess.run(script, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, float] = json.loads(printed)
    return found
