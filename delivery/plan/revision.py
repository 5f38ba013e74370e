"""Plans a revision of a checkout: reads Git, asks what is there, and makes the plan."""

from __future__ import annotations

from delivery.plan.classes import classify, match
from delivery.plan.existing import Existing, Registry, look_up
from delivery.plan.fingerprints import fingerprint
from delivery.plan.plan import Plan
from delivery.plan.planner import Place, make_plan
from delivery.plan.tree import Repository, Tree

SHOWN_PATHS = 5
_OFFLINE = Existing(notes=["offline: nothing was looked up, so the plan goes by what changed since the base"])


def plan_revision(
    repository: Repository,
    place: Place,
    registry: Registry | None,
    home: str,
    *,
    base: str | None,
    head: str = "HEAD",
    offline: bool = False,
) -> Plan:
    """What has to be done so that a place has what a revision says.

    Args:
        repository: The checkout.
        place: What is planned for.
        registry: Where images are; None if the settings name none.
        home: What runs on a cluster share; empty if the settings name none.
        base: What was there before, for the reasons, and for the decision where nothing can be looked up; the commit
            before `head` if None. Zeros, as GitHub sends them for a new branch, are no commit.
        head: What is planned.
        offline: Look nothing up.

    Raises:
        DeliveryError: there is no such commit, or a look-up failed.
        ModuleError: a module cannot be published as it is.
    """
    tree = repository.tree(head)
    before, warnings = _before(repository, tree, base)
    if tree.revision == repository.commit("HEAD") and (paths := changed_in_checkout(repository)):
        warnings.append(f"not committed, so not planned: {shorten(paths)}")
    prints = fingerprint(repository, tree, place.scope, place.builder.arguments)
    existing = _OFFLINE if offline else look_up(prints, registry, home, place.scope.environment)
    return make_plan(place, tree, before, prints, existing, warnings)


def changed_in_checkout(repository: Repository) -> list[str]:
    """Paths of the working tree that are not as in HEAD and would get into an image, a module or a run.

    An untracked file that no rule names is left alone: nothing copies it anywhere.
    """
    changed, untracked = repository.uncommitted()
    known = [path for path in untracked if match(path)]
    return [path for path in changed + known if classify(path) != "none"]


def shorten(paths: list[str]) -> str:
    """A list of paths that fits into a message."""
    return ", ".join(paths[:SHOWN_PATHS]) + (f" and {len(paths) - SHOWN_PATHS} more" if paths[SHOWN_PATHS:] else "")


def _before(repository: Repository, head: Tree, base: str | None) -> tuple[Tree | None, list[str]]:
    commit = repository.commit(base if base is not None else f"{head.revision}^")
    if commit is None:
        missing = "the first commit has none before it, or the clone is shallow"
        if base is not None:
            missing = f"{base or 'an empty name'} is not here: a new branch, a force push or a shallow clone"
        return None, [f"no base to compare with ({missing}); where nothing can be looked up, all counts as changed"]
    warnings = []
    if not repository.is_ancestor(commit, head.revision):
        warnings.append(
            f"{commit[:12]} is no ancestor of {head.revision[:12]} (a force push?); their content is compared"
        )
    return repository.tree(commit), warnings
