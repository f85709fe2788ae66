"""kv_dump: a file wrangler takes, or a verified generation, or a refusal with the number of keys."""

import fcntl
import json
import os
import resource
import signal
import stat
import time
from base64 import b64decode
from collections.abc import Iterator
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command, get_commands, load_command_class

from audit.models import Entry as AuditEntry
from backups.exports.plain_file import RANDOM, TEMPORARY, PathRefused, PlainFile
from backups.models import Generation, PlainDump
from kvops.models import Run
from kvops.runs import driver as run_driver
from tests import make
from tests.fakes.cloudflare import ApiCall
from tests.fakes.http import Request


def test_the_help_of_each_command_says_backup() -> None:
    commands = [name for name, app in get_commands().items() if app == "backups"]
    assert "kv_dump" in commands
    for name in commands:
        parser = load_command_class("backups", name).create_parser("manage.py", name)
        said = [parser.description, *(action.help or action.metavar for action in parser._actions)]
        assert "generation" not in " ".join(map(str, said)).lower(), name


class DumpTerminal(StringIO):
    def isatty(self) -> bool:
        return True


def dump(*args: object, stderr: StringIO | None = None) -> str:
    out = StringIO()
    call_command("kv_dump", *map(str, args), stdout=out, stderr=stderr or StringIO(), skip_checks=True)
    return out.getvalue()


def dumped(*args: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dump(*args, "--json"))
    return found


def values_in(path: Path) -> dict[str, bytes]:
    return {
        pair["key"]: b64decode(pair["value"]) if pair.get("base64") else pair["value"].encode()
        for pair in json.loads(path.read_text("utf-8"))
    }


def of_keys(estate: make.Estate) -> list[ApiCall]:
    """What the fake was asked of keys; how the bucket is guarded is asked besides."""
    return [call for call in estate.cloudflare.journal if call.route in {"keys", "bulk_get", "value", "metadata"}]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "dump.json"


def test_the_file_holds_the_very_bytes(estate: make.Estate, output: Path) -> None:
    values = {
        "master:日本 %/?": b"text",
        "master:bin": b"\xff\x00",
        "master:empty": b"",
        "master:\u0001": b"\xef\xbf\xbd",
    }
    for name, data in values.items():
        estate.put(estate.qa, name, data)
    said = dumped("qa/SETTINGS", "--prefix", "master:", "--output", output)
    assert values_in(output) == values
    assert said == {
        "keys": 4,
        "bytes": 9,
        "calls": len(estate.cloudflare.journal),
        "sha256": sha256(output.read_bytes()).hexdigest(),
        "output": str(output),
        "api_only": None,
        "expired": 0,
        "vanished": 0,
    }


def test_expiration_and_metadata_are_in_the_file(estate: make.Estate, output: Path) -> None:
    soon = int(time.time()) + 500
    estate.put(estate.qa, "master:a", b"{}", expiration=soon, metadata='{"n": 1.0}')
    dump("qa/SETTINGS", "--prefix", "master:", "--output", output)
    assert (
        output.read_text() == f'[\n{{"key":"master:a","value":"{{}}","expiration":{soon},"metadata":{{"n":1.0}}}}\n]\n'
    )


def test_entries_wrangler_refuses_go_into_a_second_file(estate: make.Estate, output: Path) -> None:
    estate.put(estate.qa, "master:a", b"a")
    estate.put(estate.qa, "master:b", b"b", metadata="7")
    said = dumped("qa/SETTINGS", "--prefix", "master:", "--output", output)
    assert values_in(output) == {"master:a": b"a"}
    assert values_in(Path(said["api_only"])) == {"master:b": b"b"}
    assert PlainDump.objects.count() == 2


def test_the_file_is_its_owners_only_and_recorded(estate: make.Estate, output: Path) -> None:
    estate.put(estate.qa, "master:a")
    dump("qa/SETTINGS", "--prefix", "master:", "--output", output)
    row = PlainDump.objects.get()
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert (row.path, row.sha256, row.keys) == (str(output), sha256(output.read_bytes()).hexdigest(), 1)
    assert AuditEntry.objects.get(action="dump.written").digest == row.sha256


def test_several_prefixes_are_one_file(estate: make.Estate, output: Path) -> None:
    for name in ("master:a", "mastercache:a", "system-root"):
        estate.put(estate.qa, name)
    said = dumped("qa/SETTINGS", "--prefix", "mastercache:", "--prefix", "master:", "--output", output)
    assert said["keys"] == 2
    assert list(values_in(output)) == ["master:a", "mastercache:a"]


def test_a_long_dump_is_read_in_pages_and_hundreds(estate: make.Estate, output: Path) -> None:
    for index in range(2_050):
        estate.put(estate.qa, f"master:{index:05}", b"%d" % index)
    dump("qa/SETTINGS", "--prefix", "master:", "--output", output)
    assert values_in(output)["master:02049"] == b"2049"
    assert len(estate.cloudflare.calls("keys")) == 3
    assert len(estate.cloudflare.calls("bulk_get")) == 21 + 1


@pytest.mark.parametrize("name", ["system-root", "unknown"])
@pytest.mark.parametrize("flags", [["--output"], ["--to-r2"], ["--output", "--dry-run"]])
def test_keys_that_need_encryption_are_refused_with_their_number(
    estate: make.Estate, output: Path, name: str, flags: list[str]
) -> None:
    estate.put(estate.qa, "master:a", b"{}")
    estate.put(estate.qa, name, b"secret")
    given = [part for flag in flags for part in ((flag, output) if flag == "--output" else (flag,))]
    words = "must be backed up encrypted" if "--to-r2" in flags else "requires encryption"
    with pytest.raises(CommandError, match=f"^1 key of .* {words}") as refusal:
        dump("qa/SETTINGS", "--prefix", "", *given)
    assert refusal.value.returncode == 1
    assert AuditEntry.objects.filter(action="dump.refused").count() == 1
    assert {call.route for call in of_keys(estate)} == {"keys"}
    assert not any(output.parent.iterdir())


def test_a_file_that_exists_is_never_overwritten(estate: make.Estate, output: Path) -> None:
    output.write_text("precious")
    with pytest.raises(CommandError, match="already") as refusal:
        dump("qa/SETTINGS", "--prefix", "master:", "--output", output)
    assert (output.read_text(), refusal.value.returncode) == ("precious", 1)
    assert estate.cloudflare.journal == []


def test_a_file_that_appears_meanwhile_is_not_overwritten(estate: make.Estate, output: Path) -> None:
    estate.put(estate.qa, "master:a")

    def write(_: Request) -> None:
        output.write_text("precious")

    estate.cloudflare.hook("bulk_get", write)
    with pytest.raises(CommandError, match="already"):
        dump("qa/SETTINGS", "--prefix", "master:", "--output", output)
    assert output.read_text() == "precious"
    assert not PlainDump.objects.exists()


def test_a_dump_that_fails_leaves_nothing_behind(estate: make.Estate, output: Path) -> None:
    estate.put(estate.qa, "master:a")
    estate.cloudflare.fault("bulk_get", "challenge")
    with pytest.raises(CommandError):
        dump("qa/SETTINGS", "--prefix", "master:", "--output", output)
    assert not any(output.parent.iterdir())
    assert not AuditEntry.objects.exists()


def test_a_full_disk_leaves_nothing_behind_and_says_where_and_what_to_do(estate: make.Estate, output: Path) -> None:
    estate.put(estate.qa, "master:a", b"x" * 200_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(CommandError, match=rf"^{output} cannot be written: File too large\. Choose another"):
            dump("qa/SETTINGS", "--prefix", "master:", "--output", output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not any(output.parent.iterdir())


def test_a_directory_that_may_not_be_written_is_named(output: Path) -> None:
    with (
        pytest.raises(PathRefused, match=r"^/proc/x\.json cannot be written: .* Choose a"),
        PlainFile(Path("/proc/x.json")),
    ):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(estate: make.Estate, output: Path, number: signal.Signals) -> None:
    estate.put(estate.qa, "master:a")
    before = signal.getsignal(number)

    def end(_: Request) -> None:
        assert list(output.parent.iterdir())
        if signal.getsignal(number) is not signal.SIG_DFL:
            os.kill(os.getpid(), number)

    estate.cloudflare.hook("bulk_get", end)
    with pytest.raises(SystemExit) as ended:
        dump("qa/SETTINGS", "--prefix", "master:", "--output", output)
    assert ended.value.code == 128 + number
    assert not any(output.parent.iterdir())
    assert signal.getsignal(number) is before


def test_the_next_start_removes_the_files_of_a_killed_run_and_of_no_living_one(
    estate: make.Estate, output: Path
) -> None:
    left, living = (output.with_name(f".other.json.kvops-unfinished-{name}") for name in ("left_123", "living_1"))
    others = [output.with_name(name) for name in (".env.kvops-prod", ".a.kvops-unfinished-by-somebody")]
    for path in (left, *others):
        path.write_text("plain")
    with living.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        dump("qa/SETTINGS", "--prefix", "master:", "--output", output)
    assert sorted(output.parent.iterdir()) == sorted([living, output, *others])


def test_a_temporary_file_has_a_name_that_the_next_start_knows(output: Path) -> None:
    with PlainFile(output):
        assert list(output.parent.glob(f".dump.json{TEMPORARY}{'?' * RANDOM}")) == list(output.parent.iterdir())


def test_a_vanished_key_is_said_and_fails(estate: make.Estate, output: Path) -> None:
    estate.put(estate.qa, "master:a")
    estate.put(estate.qa, "master:b")

    def delete(_: Request) -> None:
        estate.cloudflare.namespace(estate.qa.namespace_id).delete("master:b")

    estate.cloudflare.hook("bulk_get", delete)
    with pytest.raises(CommandError, match="1 key vanished"):
        dump("qa/SETTINGS", "--prefix", "master:", "--output", output)
    assert list(values_in(output)) == ["master:a"]


@pytest.mark.parametrize("flags", [["--dry-run", "--output"], ["--to-r2"], ["--output"]])
@pytest.mark.parametrize(
    ("prefix", "sentence"), [("master:\udcff", "is not valid UTF-8"), ("é" * 300, "at most 512 bytes")]
)
def test_a_prefix_that_no_key_can_have_is_refused_with_a_sentence(
    estate: make.Estate, output: Path, prefix: str, sentence: str, flags: list[str]
) -> None:
    given = [part for flag in flags for part in ((flag, output) if flag == "--output" else (flag,))]
    with pytest.raises(CommandError, match=sentence):
        dump("qa/SETTINGS", "--prefix", prefix, *given)
    entry = AuditEntry.objects.get(action="dump.refused")
    assert entry.details["prefixes"] == [prefix.replace("\udcff", "\\udcff")]
    assert not of_keys(estate)


def test_a_name_without_utf8_is_refused(estate: make.Estate, output: Path) -> None:
    estate.put(estate.qa, "master:\ud800")
    with pytest.raises(CommandError, match="UTF-8"):
        dump("qa/SETTINGS", "--prefix", "master:", "--output", output)


def test_a_lost_byte_order_mark_in_the_sample_makes_all_reads_exact(estate: make.Estate, output: Path) -> None:
    for index in range(25):
        estate.put(estate.qa, f"master:{index:05}", b"\xef\xbb\xbfx")
    dump("qa/SETTINGS", "--prefix", "master:", "--output", output)
    assert set(values_in(output).values()) == {b"\xef\xbb\xbfx"}


def test_a_refused_cursor_starts_the_listing_again(estate: make.Estate, output: Path) -> None:
    for index in range(1_100):
        estate.put(estate.qa, f"master:{index:05}")
    estate.cloudflare.fault("keys", "cursor_refused", nth=2)
    assert dumped("qa/SETTINGS", "--prefix", "master:", "--output", output)["keys"] == 1_100


def test_the_request_limit_is_waited_for(estate: make.Estate, output: Path) -> None:
    estate.put(estate.qa, "master:a")
    estate.cloudflare.fault("bulk_get", "429", nth=2, seconds=0.1)
    assert dumped("qa/SETTINGS", "--prefix", "master:", "--output", output)["keys"] == 1


def test_dry_run_tells_what_the_real_run_takes(estate: make.Estate, output: Path) -> None:
    for index in range(150):
        estate.put(estate.qa, f"master:{index:05}")
    planned = dumped("qa/SETTINGS", "--prefix", "master:", "--output", output, "--dry-run")
    assert {call.route for call in of_keys(estate)} == {"keys"}
    assert not any(output.parent.iterdir())
    real = dumped("qa/SETTINGS", "--prefix", "master:", "--output", output)
    assert planned == {"keys": 150, "bytes": None, "calls": real["calls"], "sha256": None}


def test_to_r2_makes_a_verified_generation_in_the_foreground(estate: make.Estate) -> None:
    estate.put(estate.qa, "master:a", b"{}")
    said = dumped("qa/SETTINGS", "--prefix", "master:", "--to-r2")
    made = Generation.objects.get()
    assert said == {
        "keys": 1,
        "bytes": 2,
        "calls": len(of_keys(estate)),
        "sha256": made.manifest_sha256,
        "generation": made.pk,
        "objects": [f"{made.stem}.json"],
        "manifest": made.manifest_key,
        "status": "verified",
        "expired": 0,
        "vanished": 0,
    }
    assert set(Run.objects.values_list("foreground", "state")) == {(True, "succeeded")}


def test_to_r2_fails_when_the_backup_is_partial(estate: make.Estate) -> None:
    estate.put(estate.qa, "master:nul\0")
    with pytest.raises(CommandError, match="1 key vanished"):
        dump("qa/SETTINGS", "--prefix", "master:", "--to-r2")
    assert Generation.objects.get().status == "partial"


def test_to_r2_fails_when_the_run_fails(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_driver, "MAX_STARTS", 1)
    estate.s3.fault("403", "PUT", times=9)
    estate.put(estate.qa, "master:a")
    with pytest.raises(CommandError, match="refused"):
        dump("qa/SETTINGS", "--prefix", "master:", "--to-r2")


def test_an_unknown_address_is_bad_usage(estate: make.Estate, output: Path) -> None:
    with pytest.raises(CommandError, match="no qa/OTHER") as failure:
        dump("qa/OTHER", "--prefix", "master:", "--output", output)
    assert failure.value.returncode == 2


def test_progress_is_shown_on_a_terminal_only(estate: make.Estate, output: Path) -> None:
    estate.put(estate.qa, "master:a")
    terminal, pipe = DumpTerminal(), StringIO()
    dump("qa/SETTINGS", "--prefix", "master:", "--output", output, stderr=terminal)
    dump("qa/SETTINGS", "--prefix", "master:", "--to-r2", stderr=pipe)
    assert "Listing names" in terminal.getvalue()
    assert pipe.getvalue() == ""


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, as in a terminal, also where the tests run with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_is_one_sentence_and_leaves_nothing_behind(estate: make.Estate, output: Path) -> None:
    estate.put(estate.qa, "master:a")

    def interrupt(_: Request) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    estate.cloudflare.hook("bulk_get", interrupt)
    with pytest.raises(CommandError, match=r"Interrupted\. No file was written") as ended:
        dump("qa/SETTINGS", "--prefix", "master:", "--output", output)
    assert ended.value.returncode == 130
    assert not any(output.parent.iterdir())
