"""`slipway loop`: the whole loop, played on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from cli import options
from cli.output import echo

app = typer.Typer(no_args_is_help=True)


@app.command()
def demo(
    home: Annotated[
        Path | None, typer.Option(help="Empty folder for its models, runs and page; a temporary one by default.")
    ] = None,
) -> None:
    """Play the loop on made-up taxi trips: train, serve, drift, retrain, canary, a bad model; it takes minutes.

    Your models and runs are not touched.
    """
    options.silence_tensorflow()
    from delivery.environment import open_environment
    from delivery.loop_demo.page import story_page
    from delivery.loop_demo.story import Demo, Event
    from slipway.errors import ConfigError
    from slipway.stores import storage

    if home and home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise ConfigError(f"--home {home}: it is not empty; the demo takes a folder of its own")
    folder = home.absolute() if home else Path(tempfile.mkdtemp(prefix="slipway-loop-"))

    def say(event: Event) -> None:
        echo(f"{event.day:%d %b %Y}  {event.text}")

    echo(f"The loop on weeks of made-up taxi trips, each of which takes seconds; all state is in {folder}")
    story = Demo(open_environment(), folder, say).play()
    page = folder / "loop.html"
    storage.write_text(str(page), story_page(story))
    echo(f"page  {page}")
