"""A `docker` for tests: a script that pushes to a fake registry."""

# Takes what `Builder` gives docker, and nothing else.
DOCKER = """#!{python}
import sys, urllib.request
log, arguments = {log!r}, sys.argv[1:]
with open(log, "a") as file:
    print(*arguments, file=file)
if arguments[0] == "build":
    assert arguments[1] == "--tag" and arguments[-1] == "." and open("Dockerfile").read(), arguments
elif arguments[0] == "push":
    host, _, rest = arguments[1].partition("/")
    name, _, tag = rest.rpartition(":")
    request = urllib.request.Request(f"http://{{host}}/v2/{{name}}/manifests/{{tag}}", method="PUT", data=b"x")
    assert urllib.request.urlopen(request).status == 201
else:
    sys.exit(f"unknown: {{arguments}}")
"""
