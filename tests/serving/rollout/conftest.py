from tests.fakes.kubernetes.fixtures import held, served, thrice, twice, world

__all__ = ["held", "served", "thrice", "twice", "world"]
