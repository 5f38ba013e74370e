"""Rolls a model's version out into a Kubernetes cluster: canary, checks, promotion, rollback."""
