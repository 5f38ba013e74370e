"""A worker in a pod of its own: `python -m components.train_model.worker INPUTS_URI HOSTS`, the hosts as JSON."""

import json
import os
import sys

from components.train_model.together import WorkerInputs, WorkerLostError, train_worker
from slipway.errors import SlipwayError
from slipway.limits import limit_tensorflow
from slipway.runs.failures import tell_pod
from slipway.stores import storage

# How a worker ends that lost another one, so that what was wrong with itself is told from it (EX_TEMPFAIL).
LOST = 75


def main() -> int:
    """The exit code; the reason goes into the pod's state."""
    limit_tensorflow("train_model")
    inputs_uri, hosts = sys.argv[1:]
    index = 1 + int(os.environ["JOB_COMPLETION_INDEX"])  # worker 0 is the step itself
    try:
        inputs = WorkerInputs.model_validate_json(storage.read_bytes(inputs_uri))
        train_worker(inputs, index, json.loads(hosts))
    except SlipwayError as error:
        print(error, file=sys.stderr)
        tell_pod(error)
        return LOST if isinstance(error, WorkerLostError) else 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # TensorFlow's group waits for all of its members otherwise
