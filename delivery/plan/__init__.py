"""What a commit makes necessary, why, and by which commands: `slipway plan`."""

from delivery.plan.commands import Builder
from delivery.plan.existing import Registry
from delivery.plan.fingerprints import Scope
from delivery.plan.plan import Plan, Reason, parse_plan
from delivery.plan.planner import Place, changed_in_checkout, plan_revision, shorten
from delivery.plan.tree import Repository

__all__ = [
    "Builder",
    "Place",
    "Plan",
    "Reason",
    "Registry",
    "Repository",
    "Scope",
    "changed_in_checkout",
    "parse_plan",
    "plan_revision",
    "shorten",
]
