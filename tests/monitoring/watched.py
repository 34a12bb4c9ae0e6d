"""A viommud at work, watched by a Prometheus that is configured as deploy/monitoring says."""
import os
import shutil
import threading
import time

from tests.e2e import daemon
from tests.e2e import every_rpc
from tests.e2e import grpcurl
from tests.monitoring import prometheus

FILES = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "deploy",
                     "monitoring")
_SECONDS = 60
_TARGET = "'127.0.0.1:9477'"
_PLUGIN_TARGET = "'127.0.0.1:9479'"
_INTERVAL = "15s"
PAGE = 4096


def text(name):
    """A file of deploy/monitoring."""
    with open(os.path.join(FILES, name), encoding="utf-8") as file:
        return file.read()


def watch(targets, plugins):
    """A Prometheus that looks at viommuds, device plugins and the alerts' rules every second.

    It takes five seconds until it looks at them for the first time.
    """
    return watch_as("prometheus.yaml", {_TARGET: str(targets)[1:-1],
                                        _PLUGIN_TARGET: str(plugins)[1:-1]})


def watch_as(config, instead):
    """A Prometheus with a configuration of deploy/monitoring, in which other text stands instead."""
    folder = daemon.new_folder()
    content = text(config)
    for part, other in {**instead, _INTERVAL: "1s"}.items():
        if part not in content:
            raise AssertionError(f"{config} has no {part}")
        content = content.replace(part, other)
    with open(os.path.join(folder, "prometheus.yaml"), "w", encoding="utf-8") as file:
        file.write(content)
    shutil.copy(os.path.join(FILES, "alerts.yaml"), folder)
    return prometheus.Prometheus(folder)


def eventually(look, seconds=_SECONDS):
    """What `look` answers, as soon as it is something; its last answer when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        answer = look()
        if answer or time.monotonic() > deadline:
            return answer
        time.sleep(0.2)


class Load:
    """Calls of every kind from construction until the end of a `with` statement."""

    def __init__(self, server):
        self._client = grpcurl.Client(server)
        self._stop = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, error_type, error, traceback):
        self._stop.set()
        self._thread.join()
        if error is None and self._failure is not None:
            raise self._failure

    def _run(self):
        try:
            self._prepare()
            while not self._stop.is_set():
                self._work()
        except Exception as failure:  # pylint: disable=broad-except  # __exit__ raises it.
            self._failure = failure

    def _prepare(self):
        self._client.get("DeviceService/ClaimDevice", {"name": every_rpc.DEVICE})
        self._client.get("MemoryService/CreateMemoryRegion",
                         {"memory_region_id": "r", "memory_region": {"size_bytes": 1 << 20}})
        self._client.get("IoasService/CreateIoas", {"ioas_id": "s"})
        self._client.get("DomainService/CreateDomain",
                         {"domain_id": "d", "domain": {"paging": {"ioas": "ioas/s",
                                                                  "device": every_rpc.DEVICE}}})

    def _work(self):
        entry = {"iova": 0, "memory_region": "memoryRegions/r", "length": PAGE}
        device = {"name": every_rpc.DEVICE}
        get = self._client.get
        get("DeviceService/AttachDevice", dict(device, domain="domains/d"))
        get("IoasService/Map", {"name": "ioas/s", "mappings": [entry]})
        get("IoasService/Unmap", {"name": "ioas/s", "ranges": [{"iova": 0, "length": PAGE}]})
        self._client.call("MappingService/StreamMappings", [
            {"open": {"name": "ioas/s"}},
            {"map": {"sequence": 1, "memory_regions": ["memoryRegions/r"], "iova": [0],
                     "offset": [0], "length": [PAGE]}},
            {"unmap": {"sequence": 2, "iova": [0], "length": [PAGE]}}]).messages[1]
        get("SimulationService/Dma", dict(device, iova=0, read_length=1))  # It is stopped.
        self._client.call("IoasService/GetIoas", {"name": "ioas/none"})
        get("DeviceService/DetachDevice", device)
