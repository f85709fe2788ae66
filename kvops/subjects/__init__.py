"""The tree of subjects of the audit log.

A feature names its kinds of subjects in its `operation.py`: title, page, and how a row finds its parents. `tree` has
everything under a subject, and everything about a key. The audit log asks it by the setting `AUDIT_SUBJECTS`.
"""
