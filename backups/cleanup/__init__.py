"""Clean-up: a request to delete keys, with one stage per environment, in order.

`requests` takes the request, submits a stage and starts its deletion. `preparation` fixes the list of keys, then has
it backed up, verified and checked. `sharing` records how the backup was shared. `evidence` is derived for the
reviewer, `qa` finds the evidence of the environment before, and `cost` counts requests and price. `references` has the
answers to the places in the code that may use the keys; `shown_references` is their part of the evidence. `completion`
takes explanations of leftovers and the acceptance. `after_check` compares with D1 again when the keys are proven gone.
`certificate` has each step with its proof; `certificate_files` has its words, and makes files of it. `stages` has the
moves of a stage; `next_action` and `proofs` are for its card.

The requirements depend on the category. Every category needs its code references answered. Legacy masters also need a
check against D1. Settings are deleted one key at a time (`exact` in the request; the database refuses any other
name). They need an encrypted and verified backup, a second person, QA first, and the last reads. Unclassified keys
are never deleted.
"""
