"""What was done by hand outside KVOps: stated by a person, never with a value."""

from datetime import timedelta

import pytest
from django.utils import timezone

from audit.actions import Action
from audit.models import Entry
from kvops import clock
from kvops.inventory import value as key_value
from kvops.models import Person, StatedOperation
from kvops.runbook import by_hand, secrets
from kvops.runbook.entries import RunbookSearch
from kvops.runbook.secrets import RunbookRefused
from kvops.subjects import tree as subject_tree
from tests import make
from tests.signing import signed_in

pytestmark = pytest.mark.django_db

NEW = "/runbook/by-hand/new/"
COMMAND = "wrangler kv key put system-root --binding SETTINGS --path root.json"


def typed(people: make.People, **different: object) -> dict[str, object]:
    """What the form sends."""
    hour_ago = timezone.localtime(clock.now() - timedelta(hours=1))
    return {
        "verb": "put",
        "person": people.operator2.pk,
        "done_at": f"{hour_ago:%Y-%m-%dT%H:%M:%S}",
        "environment": "qa",
        "binding": "SETTINGS",
        "names": "system-root\r\nmail:from",
        "command": COMMAND,
        "reason": "The mail server moved.",
        **different,
    }


def state(estate: make.Estate, by: Person, **different: object) -> StatedOperation:
    values: dict[str, object] = {
        "verb": "get",
        "person": by,
        "done_at": clock.now() - timedelta(hours=1),
        "environment": estate.qa.environment,
        "binding": "SETTINGS",
        "names": ["system-root"],
        "command": "",
        "reason": "no longer needed",
        **different,
    }
    return by_hand.state(**values, by=by)  # type: ignore[arg-type]


def test_what_a_person_did_outside_is_an_entry_of_its_own_kind(estate: make.Estate, people: make.People) -> None:
    browser = signed_in(people.reviewer)
    answer = browser.post(NEW, typed(people))
    stated = StatedOperation.objects.get()
    page = browser.get(answer.headers["Location"], follow=True).content.decode()
    assert "Stated by a person" in page
    assert COMMAND in page
    assert people.operator2.email in page
    assert people.reviewer.email in page
    entry = Entry.objects.get(action=Action.RUNBOOK_STATED)
    assert (entry.subject, entry.details["keys"]) == (f"stated:{stated.pk}", ["system-root", "mail:from"])
    assert (entry.details["procedure"], entry.details["version"]) == ("key_change", 1)
    assert f"stated:{stated.pk}" in subject_tree.of_key("mail:from").subjects


@pytest.mark.parametrize(
    ("filters", "number"),
    [
        ({"key": "system-root"}, 1),
        ({"key": "system"}, 0),
        ({"part": "stem-r"}, 1),
        ({"person": "operator@"}, 1),
        ({"person": "reviewer"}, 0),
        ({"kind": "stated"}, 1),
        ({"kind": "operation"}, 0),
    ],
)
def test_a_stated_operation_is_found(
    estate: make.Estate, people: make.People, filters: dict[str, str], number: int
) -> None:
    state(estate, people.operator)
    assert len(RunbookSearch(**filters).entries(50)) == number  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "command",
    [
        "wrangler kv key put system-root hunter2 --binding SETTINGS",
        "wrangler kv:key put --binding=SETTINGS system-root '{\"a\": 1}'",
        "wrangler kv key put system-root --unknown secret --binding SETTINGS",
        "wrangler kv key put system-root --path f --metadata '{}'",
        'wrangler kv key put system-root --path f --metadata "$(echo hunter2)"',
        "curl --form value=hunter2 https://api.cloudflare.com/x",
        "echo hunter2 | wrangler kv key put system-root",
        "wrangler kv key put system-root <<< hunter2",
        "curl -X PUT https://api.cloudflare.com/x --data hunter2",
        "wrangler kv key put 'system-root --binding SETTINGS",
        "CLOUDFLARE_API_TOKEN=abcdef wrangler kv key get system-root",
        "curl -H 'Authorization: Bearer abcdefgh' https://api.cloudflare.com/x",
        "wrangler kv key get system-root --binding q7GkP2vXz0Lw9RtYb4Nn",
    ],
)
def test_a_command_with_a_value_or_a_secret_is_refused_with_the_reason(
    estate: make.Estate, people: make.People, command: str
) -> None:
    answer = signed_in(people.operator).post(NEW, typed(people, command=command))
    assert answer.status_code == 422
    [reason] = answer.context["form"].non_field_errors()
    assert any(word in reason for word in ("Leave", "looks like a secret", "quotation mark"))
    assert not StatedOperation.objects.exists()
    assert "hunter2" not in str(Entry.objects.values("details"))


@pytest.mark.parametrize(
    "command",
    [
        COMMAND,
        "",
        "wrangler kv key get system-root --binding SETTINGS --remote",
        "wrangler kv:key delete --binding=SETTINGS session:q7GkP2vXz0Lw9RtYb4Nn",
        f"npx wrangler kv key get system-root --namespace-id {make.NAMESPACES['qa']}",
        'curl -H "Authorization: Bearer $CLOUDFLARE_API_TOKEN" https://api.cloudflare.com/client/v4/x',
    ],
)
def test_a_command_without_a_value_is_taken(estate: make.Estate, people: make.People, command: str) -> None:
    names = ["system-root", "session:q7GkP2vXz0Lw9RtYb4Nn"]
    assert state(estate, people.operator, command=command, names=names).command == command


@pytest.mark.parametrize("metadata", [True, False])
@pytest.mark.parametrize("expiration", [None, 4_000_000_000])
@pytest.mark.parametrize("name", ["system-root", "-dashed", "mail:\u202egpj"])
def test_the_commands_that_kvops_shows_are_taken(
    estate: make.Estate, people: make.People, name: str, expiration: int | None, metadata: bool
) -> None:
    for command in (
        key_value.put_command(estate.qa, name, expiration=expiration, metadata=metadata),
        key_value.fetch_command(estate.qa, name),
    ):
        assert state(estate, people.operator, command=command, names=[name]).command == command


@pytest.mark.parametrize(
    "different",
    [
        {"names": []},
        {"names": ["a\0"]},
        {"names": ["a" * 513]},
        {"names": [str(number) for number in range(21)]},
        {"names": ["-----BEGIN PRIVATE KEY-----"]},
        {"binding": "OTHER"},
        {"reason": "the password: hunter22"},
        {"done_at": "future"},
    ],
    ids=str,
)
def test_what_cannot_have_been_is_refused(
    estate: make.Estate, people: make.People, different: dict[str, object]
) -> None:
    if different.get("done_at"):
        different = {"done_at": clock.now() + timedelta(minutes=5)}
    with pytest.raises(RunbookRefused):
        state(estate, people.operator, **different)
    assert not Entry.objects.filter(action=Action.RUNBOOK_STATED).exists()


def test_ordinary_reasons_are_no_secrets() -> None:
    for text in ("the token expired", "token: rotated by the platform team", "see ticket OPS-1234 and 2026-11-28"):
        assert not secrets.secret_in(text)
