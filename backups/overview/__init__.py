"""The part of backups and clean-ups in the overview: alarms, an operator's steps, coming events, and the families."""
