"""A small Kubernetes API server for tests: it keeps what a real one keeps and refuses what a real one refuses."""
