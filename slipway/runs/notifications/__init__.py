"""Tells people what became of a run: by e-mail, by a Slack-compatible webhook, or in the log."""
