"""Put policy.toml in force, or prepare the change.

Exit 0 if it is applied, prepared or already in force, 1 if it is refused, 2 for bad usage. `--json` prints one
object: `state` (applied | prepared | unchanged), `changes` (a list of sentences), `change` (the prepared change's
number, or null).
"""

from backups.policy import DEFAULT, Policy
from kvops.management.apply_command import ApplyCommand


class Command(ApplyCommand):
    help = "Applies policy.toml, or the policy that ships; where a policy exists, the change waits for a second person."
    definition = Policy
    default = DEFAULT
