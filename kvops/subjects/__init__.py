"""The tree of subjects of the audit log.

`kinds` has each kind of subject: its title, the address of its page, and how its rows find their parents. `tree`
follows it: everything under a subject, and everything about a key. The audit log asks `tree` by the setting
`AUDIT_SUBJECTS`.
"""
