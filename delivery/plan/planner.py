"""Plans a commit: compares what it brings with what exists. Nothing is changed.

A plan is what `slipway plan --json` prints and `slipway deploy` reads.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from delivery.plan.classes import IN_IMAGE, classify, match
from delivery.plan.existing import State, look_up
from delivery.plan.fingerprints import (
    ADMINISTRATION,
    MODULES,
    Fingerprints,
    Key,
    Place,
    fingerprint,
    module_of,
    read_modules,
)
from delivery.plan.tree import Repository, Tree
from slipway.errors import ConfigError
from slipway.module_kit.requirements import LOCK
from slipway.stores.module_store import shared_features
from slipway.targets import DEFAULT_PIPELINE

Action = Literal["build", "sync", "submit", "apply", "none"]

SHOWN_PATHS = 5
_ACTIONS: dict[str, Action] = {
    "image": "build",
    "gpu-image": "build",
    "module": "sync",
    "pipeline": "submit",
    "overlay": "apply",
}


class Reason(BaseModel):
    """Why something is done, or is not: `subject` is what it is about, `paths` what changed since the base."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: str
    action: Action
    why: str
    paths: list[str] = []


class Plan(Fingerprints):
    """What a commit makes necessary in one environment, and the commit's fingerprints.

    Attributes:
        environment: Of the settings; None for base.yaml alone.
        pipeline: Name of the pipeline that is submitted for each module.
        head: The commit that is planned, in full.
        base: What it was compared with; None where there is nothing to compare with.
        image: Whether the image has to be built.
        gpu_image: Whether the image of tasks with an accelerator has to be built.
        layers: Modules whose layers on the images have to be built.
        image_reference: `repository:tag`; empty without a repository in the settings.
        image_digest: `repository@sha256:…` of an image that is there already.
        gpu_image_reference: The same of the image of tasks with an accelerator; empty if no task has one.
        gpu_image_digest: The same.
        modules: Modules to sync.
        pipelines: Modules for which the pipeline is compiled and submitted.
        manifests: Overlays to apply.
        schedules: Whether recurring runs have to be brought up to date.
        reasons: One for each thing that is done or left out.
        commands: What carries the plan out, in order; `slipway deploy` does the same.
        warnings: What to know before doing so.
    """

    environment: str | None
    pipeline: str = DEFAULT_PIPELINE
    head: str
    base: str | None
    image: bool
    gpu_image: bool
    layers: list[str]
    image_reference: str
    image_digest: str
    gpu_image_reference: str
    gpu_image_digest: str
    modules: list[str]
    pipelines: list[str]
    manifests: list[str]
    schedules: bool
    reasons: list[Reason]
    commands: list[str]
    warnings: list[str]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.image or self.gpu_image or self.layers or self.modules or self.pipelines or self.manifests)


def parse_plan(text: str, source: str) -> Plan:
    """A plan from its JSON.

    Raises:
        ConfigError: the text is not a plan.
    """
    try:
        return Plan.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the whole"
        raise ConfigError(
            f"{source} is not a plan: {where}: {problem['msg']}; `slipway plan --json` of this revision writes one"
        ) from error


def plan_revision(
    repository: Repository, place: Place, *, base: str | None, head: str = "HEAD", offline: bool = False
) -> Plan:
    """Plans the steps that bring an environment to a revision.

    Args:
        repository: The checkout.
        place: The environment.
        base: The revision that the reasons compare with, and that counts as deployed where nothing can be looked up;
            the commit before `head` if None. Zeros, as GitHub sends them for a new branch, are no commit.
        head: The revision to plan.
        offline: Look nothing up.

    Raises:
        DeliveryError: there is no such commit, or a look-up failed.
        ModuleError: a module cannot be published as it is.
    """
    tree = repository.tree(head)
    before, warnings = _before(repository, tree, base)
    changed = tree.differing(before)
    if tree.revision == repository.commit("HEAD") and (paths := changed_in_checkout(repository)):
        warnings.append(f"not committed, so not planned: {shorten(paths)}")
    modules = read_modules(repository, tree)
    prints = fingerprint(tree, modules, place)
    wanted = prints.keys(tree, place.overlay)
    states = _states_at(before, repository, place, wanted)
    if offline:
        warnings.append("offline: nothing was looked up; the base counts as deployed")
    else:
        existing, notes = look_up(wanted, modules, place)
        states, warnings = states | existing, warnings + notes
    for folder, variant in ADMINISTRATION.items():
        if any(path.startswith(folder) for path in changed):
            applied = f"{folder}{variant or place.overlay or '<environment>'}"
            warnings.append(f"{folder} changed; an administrator applies it: kubectl apply -k {applied}")
    shared = {name: shared_features(files) for name, files in modules.items()}
    reasons = list(_reasons(wanted, states, changed, place, shared))
    todo = {reason.subject for reason in reasons if reason.action != "none"}
    done = {
        action: [name for reason in reasons if reason.action == action and (name := reason.subject.partition(" ")[2])]
        for action in _ACTIONS.values()
    }
    images = f"{place.registry.repository}:" if place.registry else ""
    plan = Plan(
        **prints.model_dump(),
        environment=place.environment,
        pipeline=place.pipeline,
        head=tree.revision,
        base=before.revision if before else None,
        image="image" in todo,
        gpu_image="gpu-image" in todo,
        layers=done["build"],
        image_reference=images and images + prints.image_tag,
        image_digest=states["image"].image or ("" if place.registry else place.image),
        gpu_image_reference=images + prints.gpu_image_tag if images and prints.gpu_image_tag else "",
        gpu_image_digest=_known_gpu_image(states, place),
        modules=done["sync"],
        pipelines=done["submit"],
        manifests=done["apply"],
        # Recurring runs pin image, module and overlay, as any run does.
        schedules=bool(done["submit"] or done["apply"]),
        reasons=reasons,
        commands=[],
        warnings=warnings,
    )
    return plan.model_copy(update={"commands": list(_commands(plan, place))})


def _known_gpu_image(states: Mapping[str, State], place: Place) -> str:
    if not place.accelerators:
        return ""
    return states["gpu-image"].image or ("" if place.registry else place.gpu_image)


def changed_in_checkout(repository: Repository) -> list[str]:
    """Changed or new paths of the working tree that would become part of an image, a module or a run.

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
    if commit:
        return repository.tree(commit), []
    missing = "the first commit has none before it, or the clone is shallow"
    if base is not None:
        missing = f"{base or 'an empty name'} is not here: a new branch, a force push or a shallow clone"
    return None, [f"no base to compare with ({missing}); where nothing can be looked up, all counts as changed"]


def _states_at(base: Tree | None, repository: Repository, place: Place, wanted: Mapping[str, Key]) -> dict[str, State]:
    """What exists if exactly the base commit is deployed."""
    if base is None:
        nothing = State(None, "there is nothing to compare with, so everything counts as changed")
        return dict.fromkeys(wanted, nothing)
    since = base.revision[:12]
    # A module that could not be published was not.
    modules = read_modules(repository, base, skip_refused=True)
    keys = fingerprint(base, modules, place).keys(base, place.overlay)
    return dict.fromkeys(wanted, State(None, f"new since {since}")) | {
        subject: State(key, since) for subject, key in keys.items()
    }


def _reasons(
    wanted: Mapping[str, Key],
    states: Mapping[str, State],
    changed: list[str],
    place: Place,
    shared: Mapping[str, list[str]],
) -> Iterator[Reason]:
    paths_of = _paths_by_subject(changed, place, shared)
    for subject, key in wanted.items():
        needed, why = _compare(key, states[subject])
        action = _ACTIONS[subject.split()[0]] if needed else "none"
        yield Reason(subject=subject, action=action, why=why, paths=paths_of(subject))
    why = (
        "is no longer in Git: nothing to sync or submit. What was published stays, so that old runs can be repeated; "
        "take its schedules out of the settings"
    )
    for subject in sorted(states.keys() - wanted.keys()):
        if subject.startswith("module "):
            yield Reason(subject=subject, action="none", why=why, paths=paths_of(subject))


def _compare(key: Key, state: State) -> tuple[bool, str]:
    """Decides whether a subject has to be deployed, and why."""
    if state.key is None:
        return True, state.words
    differing = [f"the {name}" for name in key if state.key.get(name) != key[name]]
    if not differing:
        return False, f"unchanged since {state.words}"
    which = f"{' and '.join(differing)} " if len(key) > 1 else ""
    return True, f"{which}changed since {state.words}"


def _paths_by_subject(
    changed: Sequence[str], place: Place, shared: Mapping[str, list[str]]
) -> Callable[[str], list[str]]:
    """What lists the paths of a subject; those of the image are listed there only, not under each pipeline.

    `shared` are the paths of the shared features of each module. Each path is looked at once, however many modules
    there are.
    """
    joins: defaultdict[str, set[str]] = defaultdict(set)
    for module, views in shared.items():
        for view in views:
            joins[view].add(module)
    of_module: defaultdict[str, list[str]] = defaultdict(list)
    for path in changed:
        for name in joins[path] | {module_of(path) or ""}:
            of_module[name].append(path)
    image = [path for path in changed if classify(path) in IN_IMAGE]
    settings = [path for path in changed if place.has_settings(path)]

    def find(subject: str) -> list[str]:
        kind, _, name = subject.partition(" ")
        if kind == "image" and name:
            return [path for path in of_module[name] if path == f"{MODULES}{name}/{LOCK}"]
        if kind in ("image", "gpu-image"):
            return image
        if kind == "overlay":
            return [path for path in changed if place.has_overlay(path)]
        return sorted(of_module[name] + settings) if kind == "pipeline" else of_module[name]

    return find


def _commands(plan: Plan, place: Place) -> Iterator[str]:
    """Shell commands that execute a plan, in order; `slipway deploy` does the same and records it."""
    env = f" --env {plan.environment}" if plan.environment else ""
    target = f" --target {plan.target}{env}"
    reference = plan.image_reference or f"REPOSITORY:{plan.image_tag}"
    gpu_reference = plan.gpu_image_reference or f"REPOSITORY:{plan.gpu_image_tag}"
    if plan.image:
        yield from map(shlex.join, place.builder.commands(reference, plan.head))
    if plan.gpu_image:
        yield from map(shlex.join, place.builder.for_gpus.commands(gpu_reference, plan.head))
    if plan.layers or plan.pipelines or plan.manifests:
        # The variables override `image` and `gpu_image` of the settings, for all commands that follow.
        yield from _export("SLIPWAY_IMAGE", plan.image_digest, reference, place)
        if plan.gpu_image_tag:
            yield from _export("SLIPWAY_GPU_IMAGE", plan.gpu_image_digest, gpu_reference, place)
    yield from (f"slipway module image {module}{env}" for module in plan.layers)
    if plan.modules:
        yield f"slipway sync {shlex.join(plan.modules)}{env}"
    if plan.pipelines:
        chosen = "" if plan.pipeline == DEFAULT_PIPELINE else f" --pipeline {plan.pipeline}"
        yield from (f"slipway submit {module}{target}{chosen}" for module in plan.pipelines)
    if plan.manifests:
        yield f"slipway rollout refresh{env}"
    if plan.schedules:
        yield f"slipway schedules apply{target}"


def _export(variable: str, digest: str, reference: str, place: Place) -> Iterator[str]:
    """Sets a variable to an image by digest, which is asked of the registry if it is not known yet."""
    repository, command = reference.rpartition(":")[0], shlex.join(place.builder.digest(reference))
    yield f"{variable}={digest or f'{repository}@$({command})'}"
    yield f"export {variable}"
