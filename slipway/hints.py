"""Commands that messages tell to run, completed so that they run as printed."""

from __future__ import annotations

import re
import shlex


def complete(text: str, *, env: str | None = None, store: str | None = None) -> str:
    """Adds the environment, and the store where a command takes one, to the commands of a text."""

    def completed(found: re.Match[str]) -> str:
        options = {"env": env, "store": store if found["group"] == "models" else None}
        return f"`{found['command']}{''.join(f' --{key} {shlex.quote(one)}' for key, one in options.items() if one)}`"

    return re.sub(r"`(?P<command>slipway (?P<group>rollout|models) [^`]+)`", completed, text)
