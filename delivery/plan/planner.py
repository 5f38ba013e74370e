"""Makes a plan from two commits and what is there already. Nothing is asked or changed here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from delivery.deployments import MANIFESTS, module_unit
from delivery.plan.commands import Builder, commands_for
from delivery.plan.effects import Effects, effects_of
from delivery.plan.existing import Existing
from delivery.plan.fingerprints import ADMINISTRATION, OVERLAYS, Fingerprints, Scope, module_names
from delivery.plan.plan import Action, Plan, Reason
from delivery.plan.tree import Tree
from slipway.lineage import DEFAULT_PIPELINE

_NAMES = {"image": "the image", "module": "the module", "settings": "the settings", "target": "the target"}


@dataclass(frozen=True)
class Place:
    """What the settings say of the place that is planned for.

    Attributes:
        scope: Environment and overlay.
        target: Where runs are submitted.
        pipeline: Name of the pipeline that is submitted.
        repository: Where images are, without a tag.
        image: The image by digest that the settings name; it counts where they name no repository.
        builder: How images are built.
    """

    scope: Scope
    target: Literal["kubeflow", "vertex"] = "kubeflow"
    pipeline: str = DEFAULT_PIPELINE
    repository: str = ""
    image: str = ""
    builder: Builder = field(default_factory=Builder)


def make_plan(
    place: Place,
    head: Tree,
    base: Tree | None,
    prints: Fingerprints,
    existing: Existing,
    warnings: Sequence[str] = (),
) -> Plan:
    """What has to be done so that `place` has what `head` says.

    Args:
        place: The environment.
        head: The commit.
        base: What it is compared with; None if there is nothing, and then everything counts as changed.
        prints: Of `head`.
        existing: What is there already. Where it says nothing, the paths that changed since the base decide.
        warnings: What to know beside its own.
    """
    plan = _Planner(place, head, base, prints, existing).plan()
    return plan.model_copy(update={"warnings": [*warnings, *plan.warnings]})


class _Planner:
    def __init__(self, place: Place, head: Tree, base: Tree | None, prints: Fingerprints, existing: Existing) -> None:
        self.place, self.head, self.base, self.prints, self.existing = place, head, base, prints, existing
        self.modules = list(prints.modules)
        self.changed = {path: effects_of(path, place.scope, self.modules) for path in head.differing(base)}

    def plan(self) -> Plan:
        empty = self._empty()
        reasons = [self._image(), *map(self._sync, self.modules)]
        reasons += [self._submit(module, empty.run_key(module)) for module in self.modules]
        reasons += [*self._overlay(empty.overlay_key()), *self._removed()]
        done = {action: [reason.about for reason in reasons if reason.action == action] for action in _ACTIONS}
        found = {
            "image": bool(done["build"]),
            "modules": done["sync"],
            "pipelines": done["submit"],
            "manifests": done["apply"],
            # Recurring runs pin image, module and overlay, as any run does.
            "schedules": bool(done["submit"] or done["apply"]),
            "reasons": reasons,
        }
        plan = empty.model_copy(update=found)
        return plan.model_copy(update={"commands": commands_for(plan, self.place.builder)})

    def _empty(self) -> Plan:
        repository = self.place.repository
        return Plan(
            environment=self.place.scope.environment,
            target=self.place.target,
            pipeline=self.place.pipeline,
            head=self.head.revision,
            base=self.base.revision if self.base else None,
            image_tag=self.prints.image_tag,
            image_reference=f"{repository}:{self.prints.image_tag}" if repository else "",
            image_digest=self.existing.image_digest or ("" if repository else self.place.image),
            module_digests=self.prints.modules,
            settings_digest=self.prints.settings,
            manifests_digest=self.prints.manifests,
            warnings=[*self.existing.notes, *self._warnings()],
        )

    def _image(self) -> Reason:
        is_there, tag = self.existing.image, self.prints.image_tag[:12]
        state = None if is_there is None else ("" if is_there else f"the registry has no image {tag}…")
        return self._judge("image", "build", lambda effects: effects.image, state, f"the registry has {tag}…")

    def _sync(self, module: str) -> Reason:
        known, digest = self.existing.modules, self.prints.modules[module][:12]
        state = None if known is None else ("" if known[module] else f"{digest}… is not published")
        return self._judge(
            f"module {module}", "sync", lambda effects: module in effects.modules, state, f"{digest}… is published"
        )

    def _submit(self, module: str, key: dict[str, str]) -> Reason:
        state, same = self._compare(module_unit(module, self.place.pipeline), key, "submitted")
        return self._judge(f"pipeline {module}", "submit", lambda effects: module in effects.pipelines, state, same)

    def _overlay(self, key: dict[str, str]) -> Iterator[Reason]:
        folder = f"{OVERLAYS}{self.place.scope.overlay}"
        if any(path.startswith(f"{folder}/") for path in self.head.entries) and self.place.scope.overlay:
            state, same = self._compare(MANIFESTS, key, "applied")
            yield self._judge(f"overlay {folder}", "apply", lambda effects: effects.overlay, state, same)

    def _removed(self) -> Iterator[Reason]:
        before = set(module_names(self.base)) if self.base else set()
        before |= {unit.removeprefix("module-") for unit in self.existing.deployed or () if unit.startswith("module-")}
        for module in sorted(before - set(self.modules)):
            why = (
                "is no longer in Git: nothing to sync or submit. What was published stays, so that old runs can be "
                "repeated; take its schedules out of the settings"
            )
            paths = [path for path in self.changed if path.startswith(f"modules/{module}/")]
            yield Reason(subject=f"module {module}", action="none", why=why, paths=paths)

    def _warnings(self) -> Iterator[str]:
        if any(path.startswith(ADMINISTRATION) for path in self.changed):
            folder = f"{ADMINISTRATION}{self.place.scope.overlay or '<environment>'}"
            yield f"{ADMINISTRATION} changed; an administrator applies it: kubectl apply -k {folder}"

    def _judge(
        self, subject: str, action: Action, concerns: Callable[[Effects], bool], lacking: str | None, same: str
    ) -> Reason:
        """One decision: by what is lacking ("" for nothing), or by what changed where nobody knows (None)."""
        paths = [path for path, effects in self.changed.items() if concerns(effects)]
        if lacking is not None:
            needed, why = bool(lacking), lacking or same
        elif self.base is None:
            needed, why = True, "there is nothing to compare with, so everything counts as changed"
        else:
            needed, why = bool(paths), f"{'changed' if paths else 'unchanged'} since {self.base.revision[:12]}"
        if action == "submit" and any(self.changed[path].image for path in paths):
            # The image's own paths stand with the image.
            paths = [path for path in paths if not self.changed[path].image]
            why += ", with the image" if lacking is None else ""
        return Reason(subject=subject, action=action if needed else "none", why=why, paths=paths)

    def _compare(self, unit: str, key: dict[str, str], done: str) -> tuple[str | None, str]:
        if self.existing.deployed is None:
            return None, ""
        where = self.place.scope.environment or "base"
        record = self.existing.deployed.get(unit)
        if record is None:
            return f"was never {done} in {where}", ""
        if record.failed:
            return f"{record.run} failed, which was {done} in {where} at {record.revision[:12]}", ""
        names = [_NAMES.get(name, "it") for name in key if record.key.get(name) != key[name]]
        since = f"{done} in {where} at {record.revision[:12]}"
        return f"{' and '.join(names)} changed since it was {since}" if names else "", f"was {since}, just so"


_ACTIONS: tuple[Action, ...] = ("build", "sync", "submit", "apply")
