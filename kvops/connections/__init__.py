"""Connections to Cloudflare: clients, credentials, and the limits that all processes share.

`clients` opens the clients of an environment with the tokens that `credentials` resolves. `budget` counts requests in
300 seconds, `quota` counts a day of the free plan, `prices` has the constants of both and of Cloudflare's bill.
`calls` makes several calls at once in threads that never touch the database. `skew` compares clocks. `onepassword` is
the only module that imports 1Password's SDK, if it is installed.
"""
