"""The policy in force as `policy.toml`, so that the file in Git also has the families that were registered on the page.

`apply_policy` of this file changes nothing.
"""

import json

from backups import policy
from backups.policy import Policy
from kvops.environments import toml_text
from kvops.environments.toml import DefinitionRefused
from kvops.inventory.registration import registered
from kvops.models import PolicyVersion

_NEVER_EMPTY = ("rules",)
"""Fields whose default is not the empty value."""


def policy_text() -> str:
    """The TOML of the policy in force. Raises DefinitionRefused without a policy, and PolicyEdited."""
    try:
        version = policy.shown()
    except PolicyVersion.DoesNotExist as error:
        raise DefinitionRefused("There is no policy yet. Run manage.py apply_policy first.") from error
    data = json.loads(policy.text_in_force())
    told = _remarks()
    remarks = {place: told[one.key] for place, one in enumerate(Policy.in_force().families) if one.key in told}
    return "\n".join(
        [
            f"# Policy {version['version']}, {version['digest']}, as export_policy wrote it.",
            "",
            toml_text.table_array("family", data["family"], remarks=remarks),
            *([toml_text.table_array("dataset", data["dataset"], always=_NEVER_EMPTY)] if data["dataset"] else []),
        ]
    )


def _remarks() -> dict[tuple[str, str, bool], list[str]]:
    """For each registered family, the lines that name its feature, its approval and its design review."""
    found: dict[tuple[str, str, bool], list[str]] = {}
    for family in registered():
        if family.registration:
            told = json.loads(family.registration.definition)
            found[family.binding, family.pattern, family.exact] = [
                f"Registered on the page for {told['feature']}, approval {family.registration.approval_id}.",
                f"Design review: {told['review']}",
            ]
    return found
