"""Prepared runs as files: written when a pipeline is submitted whose steps may start another, and read by these."""

from __future__ import annotations

from slipway.platforms.kubeflow import KubeflowStarter
from slipway.platforms.starter import PreparedRun, Starter
from slipway.platforms.vertex import VertexStarter
from slipway.stores import storage
from slipway.stores.artifacts import parse_json


def write_prepared(prepared: PreparedRun, uri: str) -> None:
    """Writes it, atomically; its address is its content's, so whoever writes it too writes the same."""
    storage.write_text(uri, prepared.model_dump_json())


def open_starter(uri: str) -> Starter:
    """What starts a prepared run; StoreError if there is none at this address, or it is damaged."""
    fix = "submit the monitor again, or apply its schedule"
    prepared = parse_json(storage.read_bytes(uri), PreparedRun, uri, fix)
    return {"kubeflow": KubeflowStarter, "vertex": VertexStarter}[prepared.target](prepared)
