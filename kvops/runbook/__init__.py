"""The runbook (`/runbook/`): the procedures, an entry for each operation, people's notes and to-dos.

An entry is the entry of the audit log that began an operation, read a masked value, or states an operation outside
KVOps. So nothing is kept twice: its timeline is read from the log by the tree of subjects. The features name the
steps that the policy asks for (`procedures`), and `steps` ticks them by the entries of the log.
"""
