from tests.fakes.storage_server import _emulator, storage_server

__all__ = ["_emulator", "storage_server"]
