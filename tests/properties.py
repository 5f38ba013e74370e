"""With how many examples a property is tried: a quarter in the quick suite, all of them in the slow one."""

from hypothesis import settings


def examples(of_all: int) -> int:
    """For `max_examples` of a property that is not tried with the 100 of others. conftest.py has the profiles."""
    return max(2, of_all * settings().max_examples // 100)
