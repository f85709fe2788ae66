"""Scheduled clearing: keys of a cache family are cleared by a rule, under a standing approval.

`rules` has what the approval is of: its evidence, the scope, and the keys that the rule would clear now. `requests`
makes a rule, changes it, asks for its approval and retires it. `conditions` has each reason to stop before the first
call. `references` has the code that writes the keys, with people's answers. `rounds` begins a round at a due time of
the schedule, or for a person. It ends a round and takes the acceptance of one in QA.

`run` is the work of a round: it fixes the list of keys, has exactly these backed up and verified, and hands the stage
to `backups.deletion` with a mandate of its own (`mandate`). Nothing here deletes. A backup cannot be left out: the
database lets no stage delete without it.
"""
