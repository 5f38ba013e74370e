"""Rolls a model's version out into a Kubernetes cluster: canary, checks, promotion, rollback."""

from serving.rollout.cluster import Cluster
from serving.rollout.engine import Rollout
from serving.rollout.policy import RolloutPolicy
from serving.rollout.workload import namespace_of

__all__ = ["Cluster", "Rollout", "RolloutPolicy", "namespace_of"]
