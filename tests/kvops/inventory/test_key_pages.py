"""The page of one key: what is known, what holds it, and its value on request."""

import shlex
import subprocess
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from django.test import Client

from audit.actions import Action
from audit.models import Entry
from kvops.inventory import scan as inventory_scan
from kvops.inventory.value import SHOWN, put_command
from kvops.models import Family, Scan
from kvops.names import visible
from tests import make
from tests.signing import fresh, signed_in

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer

KEY = "/key/qa/SETTINGS/"
VALUE = "/key/qa/SETTINGS/value"


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


@pytest.fixture
def auditor(people: make.People) -> Client:
    return signed_in(people.auditor)


def scanned(estate: make.Estate, name: str, data: bytes = b"{}", **more: object) -> None:
    estate.put(estate.qa, name, data, **more)
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()


def asked(client: Client, name: str, **more: str) -> "Answer":
    return client.post(f"{VALUE}?{urlencode({'name': name})}", more)


def test_the_page_says_what_the_scan_saw_and_what_the_policy_says(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "mastercache:1", expiration=4_000_000_000, metadata='{"b":1.0,"a":2}')
    text = operator.get(KEY, {"name": "mastercache:1"}).content.decode()
    for part in ("{&quot;b&quot;:1.0,", "2096-10-02", "platform", "expires after 1 hour", "No backup holds this key."):
        assert part in text


def test_the_value_of_a_name_with_a_line_break_is_that_keys(operator: Client, estate: make.Estate) -> None:
    estate.put(estate.qa, "mastercache:a\nb", b"broken")
    estate.put(estate.qa, "mastercache:a\r\nb", b"other")
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()
    page = operator.get(KEY, {"name": "mastercache:a\nb"}).content.decode()
    assert f'action="{VALUE}?name=mastercache%3Aa%0Ab"' in page
    answer = operator.post(f"{VALUE}?name=mastercache%3Aa%0Ab", {"name": "mastercache:a\r\nb"})
    assert "broken" in answer.content.decode()
    assert Entry.objects.get(action=Action.VALUE_VIEWED).details["key"] == "mastercache:a\nb"


def test_the_scan_of_another_prefix_says_nothing_about_the_key(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "mastercache:1")
    whole = Scan.objects.get()
    inventory_scan.start_scan(estate.qa, prefix="master:", actor=make.SETUP)
    make.work()
    for name in ("mastercache:1", "mastercache:2"):
        assert operator.get(KEY, {"name": name}).context["scan"] == whole


@pytest.mark.parametrize("name", ["system-root", "unknown:1"])
@pytest.mark.parametrize("who", ["operator", "reviewer", "auditor"])
def test_metadata_of_settings_and_unclassified_keys_is_masked(
    people: make.People, estate: make.Estate, who: str, name: str
) -> None:
    scanned(estate, name, metadata='{"token":"pl41n"}')
    browser = signed_in(getattr(people, who))
    for page in (browser.get(KEY, {"name": name}), asked(browser, name)):
        assert "pl41n" not in page.content.decode()
    assert "Masked: the key is a setting or unclassified." in browser.get(KEY, {"name": name}).content.decode()


def test_a_value_is_not_fetched_before_somebody_asks(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "master:1", b"a plain word")
    assert "a plain word" not in operator.get(KEY, {"name": "master:1"}).content.decode()
    assert not estate.cloudflare.calls("value")


def test_a_value_is_shown_on_request_and_kept_nowhere(
    operator: Client, estate: make.Estate, people: make.People
) -> None:
    scanned(estate, "master:1", "東京 <b>".encode())
    answer = asked(operator, "master:1")
    assert "東京 &lt;b&gt;" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    entry = Entry.objects.get(action=Action.VALUE_VIEWED)
    assert entry.actor_id == people.operator.pk
    assert entry.details == {"key": "master:1", "masked": False}
    assert "東京" not in str(Entry.objects.values())


def test_json_is_laid_out_on_request(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "master:1", b'{"a":[1]}')
    assert asked(operator, "master:1").context["live"].shown == '{"a":[1]}'
    assert asked(operator, "master:1", layout="json").context["live"].shown == '{\n  "a": [\n    1\n  ]\n}'


def test_binary_is_shown_as_bytes(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "master:1", b"\xff\x00PNG" + bytes(5000))
    live = asked(operator, "master:1").context["live"]
    assert live.shown.startswith("00000000  ff 00 50 4e 47 00")
    assert live.kind == "binary"
    assert live.cut


def test_a_long_text_is_cut_between_two_characters(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "master:1", "あ".encode() * SHOWN)
    live = asked(operator, "master:1").context["live"]
    assert live.shown == "あ" * (SHOWN // 3)
    assert live.cut
    assert live.size == 3 * SHOWN


@pytest.mark.parametrize("name", ["system-root", "nobody-classified-it"])
def test_settings_and_unclassified_values_are_masked(operator: Client, estate: make.Estate, name: str) -> None:
    scanned(estate, name, b"hush-hush")
    text = asked(operator, name).content.decode()
    assert "hush-hush" not in text
    assert sha256(b"hush-hush").hexdigest() not in text
    assert ("9 B" in text, "≤ 1 KiB" in text) == (False, True)
    assert Entry.objects.get(action=Action.VALUE_VIEWED).details["masked"] is True


def test_masked_values_of_one_step_look_the_same(operator: Client, estate: make.Estate) -> None:
    shown = set()
    for data in (b"on", b'{"off": true}', b"\xff" * 1024):
        scanned(estate, "system-root", data)
        page = asked(operator, "system-root").content.decode()
        shown.add(page.partition("Value</h2>")[2].partition("<form")[0])
    assert len(shown) == 1


def test_an_auditor_never_sees_a_value(auditor: Client, estate: make.Estate) -> None:
    scanned(estate, "master:1")
    assert "Your role cannot view values" in auditor.get(KEY, {"name": "master:1"}).content.decode()
    assert asked(auditor, "master:1").status_code == 403
    assert not estate.cloudflare.calls("value")


def test_a_key_that_vanished_since_the_scan_is_said(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "master:1")
    estate.cloudflare.namespace(estate.qa.namespace_id).delete("master:1")
    assert "does not exist any more" in asked(operator, "master:1").content.decode()
    assert not Entry.objects.filter(action=Action.VALUE_VIEWED).exists()


def test_a_key_that_changed_since_the_scan_is_said(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "master:1", metadata='{"v":1}')
    assert not asked(operator, "master:1").context["live"].changed
    estate.put(estate.qa, "master:1", metadata='{"v":2}')
    assert "changed after the newest scan" in asked(operator, "master:1").content.decode()


def test_a_key_newer_than_the_scan_can_be_looked_at(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "master:1")
    estate.put(estate.qa, "master:2", b"new")
    assert operator.get(KEY, {"name": "master:2"}).status_code == 404
    text = asked(operator, "master:2").content.decode()
    assert "did not list this key" in text
    assert ">new<" in text


@pytest.mark.parametrize("kind", ["429", "challenge", "redirect"])
def test_what_cloudflare_refuses_is_said(operator: Client, estate: make.Estate, kind: str) -> None:
    scanned(estate, "master:1")
    estate.cloudflare.fault("value", kind, times=9, seconds=60)
    answer = asked(operator, "master:1")
    assert answer.status_code == 200
    assert answer.context["failure"]
    assert not Entry.objects.filter(action=Action.VALUE_VIEWED).exists()


def test_a_token_that_is_not_there_is_said(
    operator: Client, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned(estate, "master:1")
    monkeypatch.delenv("QA_READ")
    assert "The read token of qa is not there" in asked(operator, "master:1").content.decode()


@pytest.mark.parametrize("name", ["", "nul\0", "x" * 513, "あ" * 171])
def test_a_name_that_cannot_be_one_is_not_found(operator: Client, estate: make.Estate, name: str) -> None:
    assert operator.get(KEY, {"name": name}).status_code == 404


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_cannot_be_fetched_says_so(operator: Client, estate: make.Estate, name: str) -> None:
    assert "cannot be named" in asked(operator, name).content.decode()


@pytest.mark.parametrize(
    "name",
    ["it's; rm -rf /", "$(x) `y` \\", "a b/ü%?#", "new\nline", "a\\b'\u202egpj", "マスター\u200b1f", "$HOME\x1b"],
)
def test_the_command_survives_the_shell_and_shows_invisible_characters(
    operator: Client, estate: make.Estate, name: str
) -> None:
    command = operator.get(KEY, {"name": name}).context["command"]
    assert command == visible(command)
    shell = ["bash", "-c", f'npx() {{ printf "%s\\0" "$@"; }}; {command}']
    words = subprocess.run(shell, check=True, capture_output=True, env={"LC_ALL": "C"}).stdout.decode().split("\0")
    assert words == ["wrangler", "kv", "key", "get", name, "--namespace-id", estate.qa.namespace_id, "--remote", ""]


def test_a_name_wrangler_would_take_for_an_option_is_fetched_by_curl(operator: Client, estate: make.Estate) -> None:
    words = shlex.split(operator.get(KEY, {"name": "-a/b"}).context["command"])
    assert words[0] == "curl"
    assert words[-1].endswith(f"/namespaces/{estate.qa.namespace_id}/values/-a%2Fb")


def test_the_put_of_a_name_wrangler_would_take_for_an_option_has_metadata_and_expiration(estate: make.Estate) -> None:
    words = shlex.split(put_command(estate.qa, "-a/b", expiration=4_000_000_000, metadata=True))
    assert words[:6] == ["curl", "--fail", "--request", "PUT", "--form", "value=@value"]
    assert words[6:8] == ["--form", "metadata=<metadata"]
    assert words[-1].endswith("/values/-a%2Fb?expiration=4000000000")


def test_no_value_is_shown_while_sql_makes_a_setting_a_cache(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "system-root", b"hush-hush", metadata='{"token":"pl41n"}')
    Family.objects.filter(pattern="system-root").update(category="cache", expiry="ttl:60")
    page = operator.get(KEY, {"name": "system-root"}).content.decode()
    answer = asked(operator, "system-root").content.decode()
    for text in (page, answer):
        assert "No value is shown." in text
        assert "Nobody approved this." in text
        assert "hush-hush" not in text
        assert "pl41n" not in text
    assert Entry.objects.get(action=Action.VALUE_VIEWED).details["masked"] is True


def test_no_value_is_revealed_while_the_rules_differ_from_the_policy(people: make.People, estate: make.Estate) -> None:
    scanned(estate, "system-root", b"hush-hush")
    Family.objects.filter(pattern="system-root").update(category="cache", expiry="ttl:60")
    sent = {"name": "system-root", "reason": "The mail did not go out."}
    answer = fresh(people.operator).post("/key/qa/SETTINGS/reveal", sent)
    assert answer.status_code == 409
    assert "hush-hush" not in answer.content.decode()
    assert not Entry.objects.filter(action=Action.VALUE_REVEALED).exists()
