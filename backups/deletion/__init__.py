"""The only code that deletes keys of an environment, and only inside a run with a used or a standing approval.

`mandate` has the checks of the approval behind a deletion. Each chunk goes `planned -> intended -> sent -> settled`.
`run` drives the chunks, `chunks` plans their names, and `send` reads once more and deletes. `settle` finds the outcome
by reading, and `proof` lists until every sent name is absent.
Each intent is in the audit log before its call, and each settlement after it, so the log can be joined with
Cloudflare's side. `late_check` looks for reappeared keys afterwards. `end` stops a deletion early. `own_deletions`
gives the inventory the keys that KVOps deleted itself.
"""
