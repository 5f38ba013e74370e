"""Messages of large packages, without the packages."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["serving.protocol.protos", "slipway.evaluation.tfma.files"])
def test_messages_need_no_import_of_their_package(module: str) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    packages = {name.partition(".")[0] for name in done.stdout.split()}
    assert not {"tensorflow", "tensorflow_model_analysis", "apache_beam"} & packages
