"""Key families that a person registers on a page (`/categories/new/`), and the pages that help to choose a pattern.

`evidence` derives what the reviewer is shown, `requests` asks for the approval. Once used, a registered family is part
of the next version of the policy (`backups.policy`). `bench` says which family wins a name, and `shapes` groups the
unclassified keys that `sampling` read. `policy_file` writes the policy in force as a file.
"""
