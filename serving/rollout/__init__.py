"""Rollouts of a model's version into a Kubernetes cluster: canary, checks, promotion, and the way back."""

from serving.rollout.cluster import Cluster
from serving.rollout.engine import Rollout
from serving.rollout.policy import RolloutPolicy
from serving.rollout.workload import namespace_of

__all__ = ["Cluster", "Rollout", "RolloutPolicy", "namespace_of"]
