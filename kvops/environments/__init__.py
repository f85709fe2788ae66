"""Environments: QA and production, each one Cloudflare account with its namespaces, databases and bucket.

`toml` reads configuration strictly, and `toml_text` writes it. `effect` puts a definition in force, the one of
environments or the policy. `definition` has the rules of `environments.toml`, and `apply` its rows. The rules close
the ways in which QA and production can be bound to the same thing by mistake.
"""
