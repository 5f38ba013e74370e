"""How the steps that use Apache Beam run it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

IN_PROCESS = "--runner=FnApiRunner"


class BeamConfig(BaseModel):
    """How Beam runs: its pipeline options; in this process without any."""

    model_config = ConfigDict(extra="forbid")

    options: list[str] = []

    @property
    def flags(self) -> list[str]:
        """The options, with a runner: Beam's own default would look for another program on the network."""
        named = any(option.startswith("--runner") for option in self.options)
        return self.options if named else [IN_PROCESS, *self.options]

    @property
    def in_process(self) -> bool:
        """Whether Beam's work is done in this process."""
        return self.flags[0] == IN_PROCESS
