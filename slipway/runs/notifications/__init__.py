"""Notifications of the end of a run: by e-mail, by a Slack-compatible webhook, or in the log."""
