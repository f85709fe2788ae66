"""`recover_reviewer`: its answers, and that the sweep carries it out."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from kvops.models import ReviewerRecovery, Role, RoleGrant
from kvops.supervision import sweep
from tests import make
from tests.gate.test_people import pass_a_day
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


def command(*args: str) -> str:
    out = StringIO()
    call_command("recover_reviewer", *args, stdout=out)
    return out.getvalue()


def test_the_command_is_refused_for_what_is_no_address(people: make.People) -> None:
    make.deactivate(people.reviewer)
    with pytest.raises(CommandError, match="is not an e-mail address"):
        command("mika", "--reason", "she left us")


def test_the_command_asks_and_a_round_of_the_sweep_grants(people: make.People) -> None:
    make.deactivate(people.reviewer)
    assert command("mika@example.com", "--reason", "she left us").startswith("mika@example.com becomes reviewer at 20")
    found = ReviewerRecovery.objects.get()
    page = " ".join(signed_in(people.operator).get("/people/").content.decode().split())
    assert "No reviewer is active. mika@example.com becomes reviewer at" in page
    pass_a_day(found)
    sweep.sweep_once()
    assert RoleGrant.objects.get(recovery=found).role == Role.REVIEWER
