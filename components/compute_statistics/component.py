"""Interface of the step that describes the examples."""

from kfp import dsl

from components import component


@component
def compute_statistics(
    examples: dsl.Input[dsl.Dataset], statistics: dsl.Output[dsl.Artifact], page: dsl.Output[dsl.HTML]
) -> None:
    """Computes statistics per split and feature.

    `statistics` holds `statistics.pb`, a `DatasetFeatureStatisticsList` with one dataset per split; `page` shows them.
    """
    from components.compute_statistics.run import compute

    compute(examples.path, statistics.path, page.path)
