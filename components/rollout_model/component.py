"""Interface of the step that brings a pushed version into production."""

from typing import Any

from components import component


@component
def rollout_model(
    store_uri: str,
    run_uri: str,
    manifests_uri: str,
    cluster: str,
    policy: dict[str, Any],
    lineage: dict[str, Any],
    job: str,
    job_created: str,
    notifications: dict[str, Any],
    page: str,
) -> None:
    """Rolls the version that this run pushed out into the cluster, through a canary. Never cached.

    Args:
        store_uri: The model store.
        run_uri: This run's record: push_model's outcome is read, and `rollout.json` is written there.
        manifests_uri: The rendered overlay, `serving.manifests.publish_manifests`; empty where nothing is rolled out.
        cluster: Of GKE, `projects/P/locations/L/clusters/C`; empty for the one that the step itself runs in.
        policy: `serving.rollout.RolloutPolicy`.
        lineage: `slipway.runs.record.Lineage`.
        job: The platform's id of this run, which names it; see `slipway.runs.naming.job_id`.
        job_created: When the platform made it.
        notifications: `slipway.notifications.Notifications`, for the end of a run that is retried.
        page: As record_run takes it.
    """
    from components.record_run.run import last_step
    from components.rollout_model.run import rollout
    from slipway.runs.naming import name_run, page_of

    run_uri, lineage = name_run(run_uri, lineage, job, job_created)
    with last_step(run_uri, lineage, notifications, page_of(page, job)):
        rollout(store_uri, run_uri, manifests_uri, cluster, policy, lineage)
