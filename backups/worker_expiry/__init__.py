"""Expirations given inside Cloudflare: a generated Worker gives them to keys of a cache family, and deletes nothing.

`rules` has what the approval is of: its evidence, its scope, and the keys that a round would take now. `script` makes
the Worker from `rounds.js`, and its configuration. `requests` makes a rule, changes it, asks for its approval and
retires it. `conditions` has each reason for a no.

`door` is the way in for the Worker: `signing` checks its calls, `messages` reads them, `rounds` answers and records.
`run` follows a round on the page of runs. `late` tells of a Worker that did not ask at a due time. `own_writes` gives
the inventory the keys that expired by a Worker.
"""
