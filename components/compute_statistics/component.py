"""The step that describes the examples."""

from kfp import dsl

from components import component


@component()
def compute_statistics(
    examples: dsl.Input[dsl.Dataset], statistics: dsl.Output[dsl.Artifact], statistics_page: dsl.Output[dsl.HTML]
) -> None:
    """Computes statistics per split and feature.

    `statistics` holds `statistics.pb`, a `DatasetFeatureStatisticsList` with one dataset per split; `statistics_page`
    shows them.
    """
    from slipway.data.statistics.compute import compute_statistics
    from slipway.data.statistics.io import write_statistics
    from slipway.data.statistics.page import render_statistics
    from slipway.stores import storage

    computed = compute_statistics(examples.path)
    write_statistics(computed, statistics.path)
    statistics.metadata["files"] = "statistics.pb: a DatasetFeatureStatisticsList, which `statistics_page` shows."
    storage.write_text(statistics_page.path, render_statistics(computed))
