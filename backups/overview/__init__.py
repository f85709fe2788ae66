"""What backups and clean-ups tell the overview: alarms, an operator's steps, what is coming, and the families."""
