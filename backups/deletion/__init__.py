"""The only code that deletes keys of an environment, and only inside a run with a used or a standing approval.

`mandate` has the checks of the approval behind a deletion. Each chunk goes `planned -> intended -> sent -> settled`.
`run` drives the chunks, `chunks` plans their names or ends the deletion early, and `send` reads once more and deletes.
It also settles a chunk by reading its names, where the answer is unknown. `settle` lists the prefix and sends unchanged
survivors again. `proof` lists a second time: keys that are still there after three attempts stay named as leftovers.
Each intent is in the audit log before its call, and each settlement after it, so the log can be joined with
Cloudflare's side. `late_check` looks for reappeared keys afterwards. `own_deletions` gives
the inventory the keys that KVOps deleted itself.
"""
