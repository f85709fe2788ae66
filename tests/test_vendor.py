"""What others wrote and we serve: unchanged, complete, and served under hashed names."""

import json
import re
from hashlib import sha256
from pathlib import Path

from django.core.management import call_command
from django.test import override_settings

STATIC = Path(__file__).parent.parent / "static"
VENDOR = STATIC / "vendor"


def listed() -> dict[str, str]:
    lines = (VENDOR / "MANIFEST.sha256").read_text().splitlines()
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


def test_every_vendored_file_is_the_one_the_manifest_lists() -> None:
    files = [path for path in VENDOR.rglob("*") if path.is_file() and path.name != "MANIFEST.sha256"]
    assert {str(path.relative_to(VENDOR)): sha256(path.read_bytes()).hexdigest() for path in files} == listed()


def test_every_vendored_package_brings_its_licence() -> None:
    packages = {name.split("/")[0] for name in listed()}
    assert packages == {name.split("/")[0] for name in listed() if name.endswith("/LICENSE")}


def test_no_served_file_points_to_another_host_or_a_missing_map() -> None:
    for path in (path for path in STATIC.rglob("*") if path.suffix in {".css", ".js"}):
        text = path.read_text()
        assert "sourceMappingURL" not in text
        assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", text), path


def test_static_files_are_collected_under_hashed_names(tmp_path: Path) -> None:
    storage = {"staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}}
    with override_settings(STATIC_ROOT=tmp_path, STORAGES=storage):
        call_command("collectstatic", interactive=False, verbosity=0)
    names = json.loads((tmp_path / "staticfiles.json").read_text())["paths"]
    assert (tmp_path / names["css/kvops.css"]).exists()
    assert (tmp_path / f"{names['vendor/tabler-core-1.6.1/tabler.min.css']}.gz").exists()
