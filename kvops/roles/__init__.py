"""People come and go: roles granted and revoked, invitations, deactivations, and the recovery of the reviewer.

Each is a request of the kind *role*: an operator or a reviewer asks, a reviewer who neither asked nor is the person
decides. It takes effect with the approval (`requests.use`). The triggers of migration 0002 let no role in by another
way, and keep the last active reviewer.
"""
