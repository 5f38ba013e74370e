"""`docker` as a script: knows what `Builder` gives it, and nothing else; a push puts the tag into a fake registry.

A build with `BASE` is a layer: its context has three files, and the image below it must be in the registry.
"""

import shlex
import sys
from pathlib import Path

# The first lines are a shell's and a string of Python's: a `#!` of the kernel takes no path with a space.
_DOCKER = """#!/bin/sh
'''exec' {python} "$0" "$@"
'''
import base64, json, os, sys, urllib.request
log, arguments = {log!r}, sys.argv[1:]
with open(log, "a") as file:
    print(*arguments, file=file)
base = [one.removeprefix("BASE=") for one in arguments if one.startswith("BASE=")]
if arguments[0] == "build" and base:
    assert arguments[1:4] == ["--platform", "linux/amd64", "--tag"] and arguments[-1] == ".", arguments
    assert not any(one.startswith("--cache-to") for one in arguments), "the layer would replace the image's cache"
    assert sorted(os.listdir(".")) == ["Dockerfile", "requirements-uv.lock", "requirements.lock"], os.listdir(".")
    assert "ARG BASE" in open("Dockerfile").read() and "--hash=" in open("requirements.lock").read()
    host, _, rest = base[0].partition("/")
    name, _, digest = rest.partition("@")
    accept = ", ".join(f"application/vnd.{{one}}+json" for one in (
        "oci.image.index.v1", "oci.image.manifest.v1", "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2"))
    url = f"http://{{host}}/v2/{{name}}/manifests/{{digest}}"
    request = urllib.request.Request(url, method="HEAD", headers={{"Accept": accept}})
    assert urllib.request.urlopen(request).status == 200
elif arguments[0] == "build":
    assert arguments[1:4] == ["--platform", "linux/amd64", "--tag"] and arguments[-1] == ".", arguments
    assert open("Dockerfile").read()
elif arguments[0] == "push":
    host, _, rest = arguments[1].partition("/")
    name, _, tag = rest.rpartition(":")
    headers, config = {{}}, os.path.join(os.environ.get("DOCKER_CONFIG", ""), "config.json")
    if os.path.exists(config):
        login = json.load(open(config))["auths"][host]["auth"]
        url = f"http://{{host}}/token?service=fake&scope=repository:{{name}}:pull,push"
        request = urllib.request.Request(url, headers={{"Authorization": f"Basic {{login}}"}})
        token = json.load(urllib.request.urlopen(request))["token"]
        headers = {{"Authorization": f"Bearer {{token}}"}}
    url = f"http://{{host}}/v2/{{name}}/manifests/{{tag}}"
    request = urllib.request.Request(url, method="PUT", data=b"x", headers=headers)
    assert urllib.request.urlopen(request).status == 201
elif arguments[0] == "login":
    assert arguments[1] == "--username" and arguments[3] == "--password-stdin", arguments
    folder = os.environ["DOCKER_CONFIG"]
    os.makedirs(folder, exist_ok=True)
    login = base64.b64encode(f"{{arguments[2]}}:{{sys.stdin.read().strip()}}".encode()).decode()
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump({{"auths": {{arguments[4]: {{"auth": login}}}}}}, file)
else:
    sys.exit(f"unknown: {{arguments}}")
"""


def write_docker(folder: Path, log: Path) -> None:
    """Puts the script into a new folder; each call appends a line to `log`."""
    folder.mkdir()
    (folder / "docker").write_text(_DOCKER.format(python=shlex.quote(sys.executable), log=str(log)))
    (folder / "docker").chmod(0o755)
