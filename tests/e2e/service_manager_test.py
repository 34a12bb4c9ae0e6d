"""viommud under a service manager (sd_notify) and under probes of its health."""
import json
import os
import signal
import socket
import subprocess
import time
import unittest

from tests.e2e import daemon
from tests.e2e import grpcurl
from tools import case_report

ROOT = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
SECONDS = 30
HEALTH = "--health_address=127.0.0.1:0"
# Far longer than what is done while it drains.
DRAIN = "--drain_timeout_seconds=600"
UNIMPLEMENTED = 64 + 12  # As grpcurl's exit code.


class Manager:
    """The end of the protocol that systemd has."""

    def __init__(self, test):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        test.addCleanup(self._socket.close)
        # An abstract name that the kernel chooses. Whoever has a process of the same id in a
        # namespace of its own may still share the names.
        self._socket.bind("")
        self._socket.settimeout(SECONDS)
        name = self._socket.getsockname()
        self.environment = {"NOTIFY_SOCKET": "@" + name[1:].decode()}

    def take(self):
        """The next message, as a dict."""
        lines = self._socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def take_until(self, key):
        message = self.take()
        while key not in message:
            message = self.take()
        return message


class Probe:
    """Asks a daemon's health endpoint, which has no reflection: the description comes from us."""

    def __init__(self, served):
        self._address = served.endpoints["health_address"]

    def run(self, method, request, *flags):
        command = [grpcurl.binary(), "-plaintext", "-max-time", str(SECONDS), *flags,
                   "-d", json.dumps(request), self._address, method]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    def health(self, service=""):
        done = self.run("grpc.health.v1.Health/Check", {"service": service},
                        "-import-path", "proto", "-proto", "grpc/health/v1/health.proto")
        return json.loads(done.stdout)["status"] if done.returncode == 0 else done.stderr


def open_stream(test, client):
    """A mapping stream that has been answered once, so that the daemon has to wait for its end."""
    client.get("IoasService/CreateIoas", {"ioas_id": "vm"})
    stream = client.open("MappingService/StreamMappings")
    test.addCleanup(stream.kill)
    stream.send({"open": {"name": "ioas/vm"}}, {"unmap": {"sequence": 1, "iova": [0], "length": [1]}})
    stream.receive()
    return stream


class NotifyTest(unittest.TestCase):
    def setUp(self):
        self.manager = Manager(self)

    def test_it_is_ready_when_it_serves_and_says_when_it_stops(self):
        with daemon.Daemon(environment=self.manager.environment) as served:
            self.assertEqual({"READY": "1", "STATUS": "Serving"}, self.manager.take())
            grpcurl.Client(served).get("HostService/GetHost")
            served.signal(signal.SIGTERM)
            self.assertEqual("1", self.manager.take()["STOPPING"])
            self.assertEqual(0, served.wait())

    def test_ready_is_not_said_before_programs_can_find_it(self):
        served = subprocess.Popen(
            [daemon.BINARY, "--state_dir=state", "--metrics_address="], cwd=daemon.new_folder(),
            env={**os.environ, **self.manager.environment}, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        try:
            self.assertEqual("1", self.manager.take()["READY"])
            folder = os.readlink(f"/proc/{served.pid}/cwd")
            with open(os.path.join(folder, "state", "endpoints.json"), encoding="utf-8") as file:
                self.assertEqual(served.pid, json.load(file)["pid"])
        finally:
            served.terminate()
            self.assertEqual(0, served.wait(SECONDS))

    def test_the_watchdog_is_fed_well_within_its_time_until_the_end(self):
        seconds = 4.0  # It is fed every second.
        environment = {**self.manager.environment, "WATCHDOG_USEC": str(int(seconds * 1e6))}
        with daemon.Daemon(DRAIN, environment=environment) as served:
            self.manager.take_until("READY")
            told = [time.monotonic()]
            for _ in range(4):
                self.assertEqual({"WATCHDOG": "1"}, self.manager.take())
                told.append(time.monotonic())
            self.assertLess(max(b - a for a, b in zip(told, told[1:])), seconds)
            # A stream that stays open is waited for: meanwhile the watchdog wants to be fed, too.
            stream = open_stream(self, grpcurl.Client(served))
            served.signal(signal.SIGTERM)
            self.manager.take_until("STOPPING")
            for _ in range(2):
                self.assertEqual({"WATCHDOG": "1"}, self.manager.take())
            stream.finish()
            self.assertEqual(0, served.wait())

    def test_a_watchdog_of_another_process_is_not_fed(self):
        environment = {**self.manager.environment, "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
        with daemon.Daemon(environment=environment) as served:
            self.manager.take_until("READY")
            served.signal(signal.SIGTERM)
            self.assertIn("STOPPING", self.manager.take())
            self.assertEqual(0, served.wait())

    def test_nobody_to_tell_is_a_failure_to_start(self):
        for address, reason in (("/nowhere/notify", "takes no message"),
                                ("nowhere", "no address of a unix socket")):
            environment = {**os.environ, "NOTIFY_SOCKET": address}
            ended = subprocess.run(
                [daemon.BINARY, "--state_dir=state", "--metrics_address="],
                cwd=daemon.new_folder(), env=environment, capture_output=True, text=True,
                timeout=SECONDS, check=False)
            self.assertEqual(1, ended.returncode, ended.stderr)
            self.assertIn(reason, ended.stderr)


class HealthAddressTest(unittest.TestCase):
    def setUp(self):
        self.served = self.enterContext(daemon.Daemon(HEALTH, DRAIN))
        self.probe = Probe(self.served)

    def test_probes_see_the_health_of_the_daemon_and_of_each_service(self):
        self.assertIn("health       " + self.served.endpoints["health_address"],
                      self.served.greeting())
        self.assertEqual("SERVING", self.probe.health())
        self.assertEqual("SERVING", self.probe.health("viommu.v1.IoasService"))
        self.assertIn("NotFound", self.probe.health("viommu.v1.NoService"))

    def test_nothing_but_health_is_served(self):
        listed = subprocess.run(
            [grpcurl.binary(), "-plaintext", self.served.endpoints["health_address"], "list"],
            capture_output=True, text=True, check=False)
        self.assertEqual("", listed.stdout)
        self.assertIn("does not support the reflection API", listed.stderr)
        folder = os.path.dirname(self.served.socket)
        protoset = os.path.join(folder, "host.protoset")
        subprocess.run(
            [grpcurl.binary(), "-plaintext", "-unix", "-protoset-out", protoset,
             os.path.basename(self.served.socket), "describe", "viommu.v1.HostService"],
            cwd=folder, check=True, capture_output=True)
        done = self.probe.run("viommu.v1.HostService/GetHost", {}, "-protoset", protoset)
        self.assertEqual(UNIMPLEMENTED, done.returncode, done.stderr)

    def test_probes_are_told_of_the_end_while_running_calls_finish(self):
        stream = open_stream(self, grpcurl.Client(self.served))
        self.served.signal(signal.SIGTERM)
        deadline = time.monotonic() + SECONDS
        while self.probe.health() == "SERVING" and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual("NOT_SERVING", self.probe.health())
        self.assertEqual("NOT_SERVING", self.probe.health("viommu.v1.IoasService"))
        stream.finish()
        self.assertEqual(0, self.served.wait())

    def test_an_address_in_use_is_named(self):
        taken = self.served.endpoints["health_address"]
        ended = daemon.run("--state_dir=other", "--metrics_address=", f"--health_address={taken}",
                           folder=self.served.folder)
        self.assertEqual(1, ended.returncode)
        self.assertIn(taken, ended.stderr)


if __name__ == "__main__":
    case_report.main()
