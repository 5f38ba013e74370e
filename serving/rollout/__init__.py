"""Rollouts of a model version into a Kubernetes cluster: canary, checks, promotion, and the way back."""
