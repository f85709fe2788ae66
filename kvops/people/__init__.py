"""Persons, their logins and roles.

Approvals compare persons, not logins: two logins of one human are one person. `setup` creates the first people,
`signin` records every sign-in and asks for a fresh password before a decision. Nobody can sign up.
"""
