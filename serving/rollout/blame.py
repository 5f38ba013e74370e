"""Whether the model is at fault when its server ends, or does not come up; docs/rollouts.md has the rules in words.

The messages are TensorFlow Serving's (util/retrier.cc, model_servers/main.cc, model_servers/server_core.cc,
core/load_servables_fast.cc, sources/storage_path/file_system_storage_path_source.cc), and those of TensorFlow's file
systems and flags under it (third_party/xla/xla/tsl: platform/cloud/curl_http_request.cc,
platform/cloud/google_auth_provider.cc, platform/default/posix_file_system.cc, util/command_line_flags.cc).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from serving.manifests import Object

# What a program is ended with from outside, or cannot be started with; 128 + 4 and 128 + 7 are signals.
_NOT_THE_MODEL = {
    126: "the image's program cannot be executed",
    127: "the image lacks its program, or a library of it",
    128: "the container cannot be started",
    132: "the image does not run on this node's processor",
    135: "a file that was mapped into memory can no longer be read",
    137: "killed, for memory or by the kubelet",
    143: "stopped by the kubelet; did a probe fail?",
}
_STORAGE = re.compile(
    r"HTTP response code:? (?:40[1347-9]|410|429|5\d\d)"
    r"|libcurl code \d+"
    r"|Google authentication bearer token failed"
    r"|file-?system access error"
    r"|Could not find (?:base path|SavedModel)"
    r"|; (?:Permission denied|No such file or directory|Input/output error|Stale file handle"
    r"|Transport endpoint is not connected|Connection timed out|No such device)",
    re.IGNORECASE,
)
# The path source says only that it met an error; what lies behind it follows, the most telling first.
_BEHIND_IT = [
    re.compile(
        r"HTTP response code:? \d+|libcurl code \d+(?: meaning '[^']*')?|authentication bearer token failed"
        r"|(?<=; )(?:Permission denied|No such file or directory|Input/output error|Stale file handle"
        r"|Transport endpoint is not connected|Connection timed out|No such device)",
        re.IGNORECASE,
    ),
    re.compile(r"Could not find (?:base path|SavedModel)(?: /\S+| \w+://\S+)?"),
]
_MEMORY = re.compile(r"resource[ _]exhausted|insufficient resources|bad_alloc|OOM when allocating", re.IGNORECASE)
_LOAD = re.compile(
    r"Loading servable: \{[^}]*\} failed|(?:servable|model)\(s\) did not become available"
    r"|SavedModel load for tags [^;]*; Status: fail"
)
# The usage is what a wrong flag makes the server print.
_SETUP = re.compile(
    r"error while loading shared libraries|exec format error|Failed to start server\. Error"
    r"|^\s*--\w+=\S*\s+(?:bool|float|int32|int64|string)\s",
    re.IGNORECASE | re.MULTILINE,
)
_LAST_ATTEMPT = ("Loading servable: {", "Failed to start server")


class Cause(NamedTuple):
    """What a server ended of, as far as it is known; empty if it is not."""

    why: str
    blames_model: bool


UNCLEAR = Cause("", blames_model=False)


def cause_of_end(terminated: Object, log: str) -> Cause:
    """The cause of one end, from what the container's status and its last lines say of it."""
    code, reason = terminated.get("exitCode"), terminated.get("reason", "")
    if reason == "OOMKilled":
        return Cause("killed for memory: raise the container's limit", blames_model=False)
    if code in _NOT_THE_MODEL:
        return Cause(_NOT_THE_MODEL[code], blames_model=False)
    return cause_in_log(log)


def cause_in_log(log: str) -> Cause:
    """What a server's last lines say."""
    last = log[max(0, *(log.rfind(start) for start in _LAST_ATTEMPT)) :]  # an earlier attempt may have failed otherwise
    if storage := _STORAGE.search(last):
        found = (pattern.search(last, storage.start()) for pattern in _BEHIND_IT)
        why = next(filter(None, found), storage)
        return Cause(f"it cannot read the model store ({why[0]})", blames_model=False)
    if memory := _MEMORY.search(last):
        return Cause(f"it has too little memory for the model ({memory[0]})", blames_model=False)
    if _LOAD.search(last):
        return Cause("it cannot load the SavedModel", blames_model=True)
    if setup := _SETUP.search(last):
        return Cause(f"its image, flags or configuration are wrong ({setup[0].strip()})", blames_model=False)
    return UNCLEAR
