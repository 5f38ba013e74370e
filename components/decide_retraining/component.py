"""The step that decides what a window means."""

from kfp import dsl

from components import component


@component()
def decide_retraining(
    scored: dsl.Input[dsl.Artifact],
    data_uri: str,
    window: int,
    snapshots_uri: str,
    monitoring_uri: str,
    monitor_config: str,
    ask: str,
    run: str,
    job: str,
    job_created: str,
    verdict: dsl.Output[dsl.Markdown],
    window_page: dsl.Output[dsl.HTML],
) -> None:
    """Decides whether to train again; keeps the window, its page, the history and the run's outcome. Never cached.

    The state says what is to be submitted before anything is. `ask` is `hand` or `schedule` where somebody asks for a
    training, else empty.
    """
    from components.decide_retraining.run import decide_window
    from slipway.runs.naming import name_run
    from slipway.stores import storage

    this = name_run(**locals())
    said, page = decide_window(
        scored.path, data_uri, int(window), snapshots_uri, monitoring_uri, monitor_config, ask, this
    )
    storage.write_text(verdict.path, said)
    storage.write_text(window_page.path, page)
