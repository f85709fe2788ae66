"""Environments: QA and production, each one Cloudflare account with its namespaces, databases and bucket.

`toml` reads configuration strictly, `definition` has the rules of `environments.toml`, and `apply` puts a new
definition in force. The rules close the ways in which QA and production can be bound to the same thing by mistake.
"""
