"""Commands of the guides and runbooks that no test runs, by the reason why. What is not here is run."""

from __future__ import annotations

from typing import Literal

Reason = Literal[
    "asks a person",  # a login in a browser, an editor
    "needs a cloud",
    "needs a registry of images",
    "needs an index of packages",
    "needs pods",  # a container that runs, or a port of one
    "needs the fork on GitHub",
    "has tests of its own",  # of the same command, with other names
    "fills in an example",  # stands in a sentence, with words to be replaced
]

NOT_RUN: dict[Reason, list[str]] = {
    "asks a person": [
        "gcloud auth login",
        "gcloud auth application-default",
        "kubectl edit configmap",
    ],
    "needs a cloud": [
        "gcloud components install",
        "gcloud config set project",
        "gcloud container clusters get-credentials",
        'gcloud storage ls "gs://$BUCKET/runs',
        "mc ",
        "for ROLE in trainer monitor serving; do\n  mc",
        "terraform -chdir=infrastructure init",
        "terraform -chdir=infrastructure apply",
        "terraform -chdir=infrastructure destroy",
        "terraform -chdir=infrastructure output",
    ],
    "needs a registry of images": [
        "gcloud auth configure-docker",
        "docker tag",
        "docker push",
        "docker buildx imagetools inspect",
        "DIGEST=$(docker",
        "export SLIPWAY_IMAGE=",
        "skopeo inspect",
        "while read -r IMAGE",
    ],
    "needs an index of packages": [
        "for LOCK in",
        "export PIP_NO_INDEX",
    ],
    "needs pods": [
        "kubectl port-forward",
        "kubectl run ask",
        "slipway predict",
    ],
    "needs the fork on GitHub": [
        "git clone YOUR_FORK",
        "git add settings",
        "git push",
        "git fetch upstream",
    ],
    "has tests of its own": [
        "make run",
        "make image",
        "make test",
        "source .venv",
        "terraform -chdir=infrastructure fmt",
        "git merge",
        "slipway module new",
        "slipway run churn",
        "slipway plan --offline",
        "slipway plan --env",
        "slipway deploy --env",
        "slipway models list --env staging",
        "slipway notify test --env staging",
        "slipway rollout status churn",
        "slipway rollout status --env $ENV",
        "slipway explain",
        "slipway compile taxi",
        "slipway sync taxi",
        "slipway serve taxi",
        "slipway monitor",
        "slipway loop demo",
        "pip install --editable",
    ],
    "fills in an example": [
        "gcloud container clusters describe CLUSTER",
        "gcloud storage cp --recursive URI",
        "kubectl annotate serviceaccount slipway-pipeline-staging",
        "gcloud secrets versions add NAME",
        "slipway models release MODEL/VERSION",
        "slipway runs show nightly",
        "slipway schedules delete NAME",
    ],
}


def reason(command: str) -> Reason | None:
    """Why a command is not run; None where it has to be."""
    return next((why for why, starts in NOT_RUN.items() if command.startswith(tuple(starts))), None)
