"""Notifications: an outbox, and its delivery by mail and Slack.

`outbox.post` writes the messages in the transaction that decides them; the sweep wakes a worker, which delivers them
through `senders`. Slack's webhook is a secret by reference (`slack = "env:NAME"`). Its host must be in
`KVOPS_ALLOWED_WEBHOOK_HOSTS`, and it never reaches a row, a page or a log.
"""
