"""`gcloud` as a program, before a project that is kept in a file: what the guides make by hand, and take down again.

It refuses commands and options that it does not know, to make what is there, to use or delete what is not, a service
that nobody enabled, and a role for an account that nobody made. The parser of gcloud 578 takes all that is
taken here. https://cloud.google.com/sdk/gcloud/reference
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

# Options that a command has to be given, for each kind of thing that is made.
CREATE = {
    "storage buckets": {"--project", "--location", "--uniform-bucket-level-access", "--public-access-prevention"},
    "storage managed-folders": set[str](),
    "artifacts repositories": {"--project", "--location", "--repository-format"},
    "iam service-accounts": {"--project"},
    "secrets": {"--project", "--data-file"},
}
# Those that tell it where the thing is.
FIND = {"storage buckets": set[str](), "storage managed-folders": set[str](), "projects": {"--condition"},
        "artifacts repositories": {"--project", "--location"}}  # fmt: skip
# A new project has that of storage.
SERVICE = {"artifacts": "artifactregistry", "iam": "iam", "secrets": "secretmanager"}
# Accounts that Google makes: nodes by default, and a cluster's own as Workload Identity names them.
GOOGLES = re.compile(r"\d+-compute@developer\.gserviceaccount\.com|[\w-]+\.svc\.id\.goog\[[a-z0-9-]+/[a-z0-9-]+\]")
NUMBER = "123456789012"


class Project:
    """A project.

    Attributes:
        things: Kinds and names of all that is there.
        grants: Who has which role on what.
    """

    def __init__(self, file: Path, name: str) -> None:
        self.file, self.name = file, name
        kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        self.services: list[str] = kept.get("services", [])
        self.things: set[tuple[str, str]] = {(kind, name) for kind, name in kept.get("things", [])}
        self.grants: set[tuple[str, str, str]] = {(on, role, who) for on, role, who in kept.get("grants", [])}

    def save(self) -> None:
        kept = {"services": self.services, "things": sorted(self.things), "grants": sorted(self.grants)}
        self.file.write_text(json.dumps(kept))

    def add(self, kind: str, name: str) -> None:
        """Something that the page does not make."""
        self.things.add((kind, name))
        self.save()

    def run(self, arguments: list[str]) -> str:
        """What it prints."""
        words = [one for one in arguments if not one.startswith("--")]
        options = dict(one.partition("=")[::2] for one in arguments if one.startswith("--"))
        assert options.get("--project", self.name) == self.name, options
        if SERVICE.get(words[0], "") not in ("", *self.services):
            raise SystemExit(f"ERROR: API [{SERVICE[words[0]]}.googleapis.com] not enabled on project [{self.name}].")
        if words[:2] == ["services", "enable"]:
            self.services += [one.removesuffix(".googleapis.com") for one in words[2:]]
            return ""
        *kind, verb, name = words
        match " ".join(kind), verb:
            case "projects", "describe":
                assert (name, options) == (self.name, {"--format": "value(projectNumber)"})
                return NUMBER
            case "storage", "rm":
                assert options == {"--recursive": ""}, options
                self._delete("storage buckets", name)
            case "storage buckets", "update":
                self._find("storage buckets", name)
                json.loads(Path(options["--lifecycle-file"]).read_text())
            case found, "create" if found in CREATE:
                assert options.keys() == CREATE[found], (arguments, CREATE[found])
                if options.get("--data-file") == "-" and not sys.stdin.read():
                    raise SystemExit("ERROR: Secret Payload cannot be empty.")
                self._create(found, name)
            case found, "delete":
                assert options.keys() <= {"--project", "--location"}, arguments
                self._delete(found, name)
            case found, "add-iam-policy-binding" | "remove-iam-policy-binding":
                role, who = options.pop("--role"), options.pop("--member")
                assert options.keys() == FIND.get(found, {"--project"}), arguments
                self._grant(found, name, role, who, remove=verb.startswith("remove"))
            case _:
                raise AssertionError(f"gcloud: unknown: {arguments}")
        return ""

    def _create(self, kind: str, name: str) -> None:
        if kind == "iam service-accounts":
            assert re.fullmatch(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])", name), name
            name += f"@{self.name}.iam.gserviceaccount.com"
        if kind == "storage managed-folders":
            self._find("storage buckets", name.removesuffix("/").rpartition("/")[0])
        if (kind, name) in self.things:
            raise SystemExit(f"ERROR: {kind} {name} already exists.")
        self.things.add((kind, name))

    def _find(self, kind: str, name: str) -> None:
        if (kind, name) not in self.things and (kind, name) != ("projects", self.name):
            raise SystemExit(f"ERROR: NOT_FOUND: {kind} {name}")

    def _delete(self, kind: str, name: str) -> None:
        self._find(kind, name)
        inside = {(its, one) for its, one in self.things if one.startswith(f"{name}/")}
        self.things -= {(kind, name), *inside}
        self.grants = {grant for grant in self.grants if grant[0] not in {name, *(one for _, one in inside)}}

    def _grant(self, kind: str, name: str, role: str, who: str, *, remove: bool) -> None:
        self._find(kind, name)
        assert re.fullmatch(r"roles/\w+\.\w+", role), role
        account = who.removeprefix("serviceAccount:")
        assert account != who, who
        if remove:
            self.grants.remove((name, role, who))
            return
        if not GOOGLES.fullmatch(account):
            self._find("iam service-accounts", account)
        self.grants.add((name, role, who))


if __name__ == "__main__":
    project = Project(Path(os.environ["GOOGLE_PROJECT_FILE"]), os.environ["PROJECT"])
    print(project.run(sys.argv[1:]))
    project.save()
