from tests.fakes.kubernetes.fixtures import served, world

__all__ = ["served", "world"]
