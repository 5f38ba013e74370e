"""Notifications of runs and rollbacks: by e-mail, by a Slack-compatible webhook, or in the log."""
