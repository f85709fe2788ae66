"""Approvals: everything that needs a second person passes through `gate`.

A feature names who hears a decision in its `operation.py`. `lines` are the evidence in a few lines. `evidence` makes
the canonical text and its digest. `standing` has the approvals that carry run after run until a date, `risks` the
risks that a reviewer accepts by name. `prepared_changes` are
changes of environments and policy, `emergency_release` ends an emergency stop, and `restored_database` accepts a
rolled-back database. The rules are enforced twice: here, and in the database by constraints, triggers and grants.
"""
