"""Why steps of a run on a platform failed: a file beside what each would have written.

No platform tells it to the exit handler, and a launcher uploads nothing of a step that failed. Kubeflow gives a step
the folder `<root>/<pipeline>/<run>/<task>/<salt>` (`provisionOutputs`, backend/src/v2/driver), Vertex
`<root>/<project>/<run>/<task>_<id>`, the same in all attempts.
"""

import json
from pathlib import Path

from slipway.errors import SlipwayError
from slipway.runs.record import Step
from slipway.stores import storage

# Kubernetes takes what is in it into the pod's state, and Argo into its node (`inferFailedReason`, operator.go).
TERMINATION_LOG = Path("/dev/termination-log")
_FAILURE = "failure"
_FILE = "step.json"
_LONGEST = 1_000  # letters: Kubernetes keeps 4,096 bytes of a pod's last message


def folder_of_step(executor_input: str) -> str:
    """The folder of a step's artifacts, by what kfp's executor is given."""
    outputs = json.loads(executor_input)["outputs"]
    artifacts = [listed["artifacts"][0]["uri"] for listed in outputs.get("artifacts", {}).values()]
    # Vertex's file of outputs lies beside them; Kubeflow's does not, but its launcher adds an artifact to each step.
    path, question, query = str(next(iter(artifacts), outputs["outputFile"])).partition("?")
    return path.rpartition("/")[0] + question + query


def folder_of_run(artifact: str, job: str) -> str:
    """The folder of all artifacts of a run, by the URI of one; empty if they do not lie as platforms place them."""
    path, question, query = artifact.partition("?")
    before, found, _ = path.partition(f"/{job}/")
    return f"{before}/{job}{question}{query}" if found else ""


def describe_failure(error: Exception) -> str:
    """The message of one of our errors alone, else that of somebody else's with its kind."""
    text = str(error) if isinstance(error, SlipwayError) else f"{type(error).__name__}: {error}"
    return text[:_LONGEST]


def tell_pod(error: Exception) -> None:
    """Writes why this process fails into the state of its pod, if it is in one."""
    if TERMINATION_LOG.exists():
        TERMINATION_LOG.write_text(describe_failure(error), encoding="utf-8")


def write_failure(folder: str, step: str, error: Exception) -> None:
    """Writes why a step failed."""
    failed = Step(name=step, state="failed", error=describe_failure(error))
    storage.write_text(storage.join(folder, _FAILURE, _FILE), failed.model_dump_json())


def forget_failure(folder: str) -> None:
    """Removes what an attempt before left."""
    storage.delete_folder(storage.join(folder, _FAILURE))


def read_failures(run: str) -> list[Step]:
    """The steps of a run that failed and could say why."""
    ends = f"/{_FAILURE}/{_FILE}"
    return [
        Step.model_validate_json(storage.read_bytes(file.uri))
        for file in storage.list_files(run)
        if file.name.endswith(ends)
    ]
