"""What the rooms above share: data, examples, modules, runs, stores, statistics."""

__version__ = "0.1.0"
