"""The project package: people, environments, Cloudflare, inventory, approvals and runs.

It reads KV and D1, cannot write to KV and does not know R2. One package per feature, each with its domain modules,
forms and views; README.md has the map. `audit` is below, `backups` above; other apps are named by strings only.
"""
