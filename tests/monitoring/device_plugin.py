"""Runs the real viommu-device-plugin beside a viommud, where there is no kubelet."""
import json
import os
import subprocess
import time

from tests.e2e import daemon

BINARY = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "clients",
                      "device_plugin", "viommu-device-plugin")
RESOURCE = "viommu.io/device"

_SECONDS = 60


def run(*flags):
    """What it prints before it ends by itself."""
    return subprocess.run([BINARY, *flags], capture_output=True, text=True, timeout=_SECONDS,
                          check=True).stdout


class DevicePlugin:
    """It offers all devices of `served`, until the end of a `with` statement.

    `served` runs with daemon.LISTENERS. It can be scraped as a daemon can.
    """

    def __init__(self, served):
        folder = os.path.join(served.folder, "kubelet")
        os.mkdir(folder)
        with open(os.path.join(folder, "settings"), "w", encoding="utf-8") as file:
            file.write(f'resources {{ name: "{RESOURCE}" }}\n')
        self._log_path = os.path.join(folder, "log")
        with open(self._log_path, "w", encoding="utf-8") as log:
            # Sockets have short names in this way, wherever the folder is.
            self._process = subprocess.Popen(
                [BINARY, "--config=kubelet/settings", "--device_plugin_dir=/proc/self/cwd/kubelet",
                 "--pod_resources_dir=", "--metrics_address=127.0.0.1:0",
                 "--viommud_socket=/proc/self/cwd/state/viommud.sock"],
                cwd=served.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.metrics_address = self._await_address()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def __enter__(self):
        return self

    def __exit__(self, error_type, error, traceback):
        self._process.terminate()
        try:
            code = self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        if error is None and code != 0:
            raise AssertionError(f"the device plugin ended with {code}\n{self.log()}")

    def log(self):
        with open(self._log_path, encoding="utf-8") as file:
            return file.read()

    def _await_address(self):
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            events = {event["event"]: event for event in map(json.loads, self._lines())}
            # All series are there before it looks for viommud.
            if "viommud_there" in events:
                return events["serving"]["metrics_address"]
            time.sleep(0.01)
        raise AssertionError(f"the device plugin does not serve\n{self.log()}")

    def _lines(self):
        """Of its log, those that are written to their end."""
        return [line for line in self.log().splitlines(keepends=True) if line.endswith("}\n")]
