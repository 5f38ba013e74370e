from tests.fakes.fault_proxy import fault_proxy
from tests.fakes.storage_server import _emulator, storage_server

__all__ = ["_emulator", "fault_proxy", "storage_server"]
