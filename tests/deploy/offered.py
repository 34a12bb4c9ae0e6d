"""What pods could have of a node: a real device plugin asks a real viommud, with the settings that both
have in a pod."""
import json
import os
import subprocess
import time
import types

from tests.deploy import scratch
from tests.e2e import daemon
from tests.e2e import metrics

_PLUGIN = os.path.join(scratch.ROOT, "clients", "device_plugin", "viommu-device-plugin")
_DEVICES = "viommu_device_plugin_devices"
# In a pod all are below /run/viommu or are ports of the pod's own.
_PLACES = ("--viommud_socket=/proc/self/cwd/state/viommud.sock", "--device_plugin_dir=/proc/self/cwd",
           "--pod_resources_dir=", "--metrics_address=127.0.0.1:0", "--health_address=")


def devices(settings):
    """{resource: how many devices of it a kubelet would be told are healthy} with the files of a
    ConfigMap; and those that it would be told are unhealthy for good."""
    with daemon.Daemon(daemon.LISTENERS) as served:
        with open(os.path.join(served.folder, "device-plugin.textproto"), "w",
                  encoding="utf-8") as file:
            file.write(settings["device-plugin.textproto"])
        path = os.path.join(served.folder, "plugin.log")
        with open(path, "w", encoding="utf-8") as log:
            plugin = subprocess.Popen([_PLUGIN, "--config=device-plugin.textproto", *_PLACES],
                                      cwd=served.folder, stdout=log, stderr=log)
        try:
            return _settled(plugin, path)
        finally:
            plugin.terminate()
            plugin.wait(scratch.SECONDS)


def _settled(plugin, log_path):
    """Once each device is healthy or has been refused to the plugin for good."""
    deadline = time.monotonic() + scratch.SECONDS
    while time.monotonic() < deadline and plugin.poll() is None:
        events = _events(log_path)
        refused = {event["device"] for event in events if event["event"] == "claim_refused"}
        for event in events:
            if event["event"] == "serving":
                seen = metrics.Metrics(types.SimpleNamespace(metrics_address=event["metrics_address"]))
                if seen.total(_DEVICES) > 0 and (
                        seen.total(_DEVICES, health="unhealthy") == len(refused)):
                    healthy = {labels["resource"]: int(count)
                               for labels, count in seen.samples(_DEVICES, health="healthy")}
                    return healthy, refused
        time.sleep(0.02)
    with open(log_path, encoding="utf-8") as file:
        raise AssertionError("the device plugin does not come to an end\n" + file.read())


def _events(log_path):
    with open(log_path, encoding="utf-8") as file:
        return [json.loads(line) for line in file.read().splitlines(keepends=True) if line[-1] == "\n"]
