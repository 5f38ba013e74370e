"""Rollouts of a model's version into a Kubernetes cluster: canary, checks, promotion, and the way back."""
