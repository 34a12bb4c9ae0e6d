"""How viommud starts, says why it does not, and whom it shuts out."""
import ipaddress
import json
import os
import re
import signal
import socket
import stat
import sys
import unittest

from tests.e2e import daemon
from tests.e2e import grpcurl
from tests.e2e import metrics
from tools import case_report

UNUSABLE_SETTINGS = 2
FAILURE = 1
PORT_0 = "--metrics_address=127.0.0.1:0"

BROKEN_TOPOLOGY = """\
iommus {
  id: "dmar0"
  vtd { domain_id_bits: 99 }
}
devices {
  id: "0000:01:00.0"
  iommu: "dmar7"
}
devices {
  id: "BAD ID"
  iommu: "dmar0"
  reserved_regions { first: 0x2000 last: 0x1000 type: RESERVED_REGION_TYPE_MSI }
}
"""


def write(folder, name, text):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)
    return name


class SettingsTest(unittest.TestCase):
    """Problems of flags and files: all at once, on standard error, exit code 2, nothing touched."""

    def setUp(self):
        self.folder = daemon.new_folder()

    def refused(self, *flags):
        """The problems that a start with these flags reports, one a line."""
        ended = daemon.run("--state_dir=state", *flags, folder=self.folder)
        self.assertEqual((UNUSABLE_SETTINGS, ""), (ended.returncode, ended.stdout), ended.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "state")))
        first, *problems = ended.stderr.splitlines()
        self.assertEqual("viommud: unusable settings:", first)
        return [problem.strip() for problem in problems]

    def test_a_broken_topology_names_file_line_and_field_of_every_problem(self):
        problems = self.refused("--topology", write(self.folder, "t.textproto", BROKEN_TOPOLOGY))
        for where, field, value in [
                ("t.textproto:3:", "iommus[0].vtd.domain_id_bits", "99"),
                ("t.textproto:7:", "devices[0].iommu", '"dmar7"'),
                ("t.textproto:10:", "devices[1].id", '"BAD ID"'),
                ("t.textproto:12:", "devices[1].reserved_regions[0]", "[0x2000, 0x1000]")]:
            self.assertTrue(any(problem.startswith(where) and field in problem and value in problem
                                for problem in problems), f"{where} {field} not in {problems}")

    def test_a_topology_with_unknown_fields_names_their_places(self):
        text = 'iommus {\n  id: "dmar0"\n  vtd { speed: 3 }\n  color: "red"\n}\n'
        problems = self.refused("--topology", write(self.folder, "t.textproto", text))
        self.assertEqual(["t.textproto:3:9:", "t.textproto:4:3:"],
                         [problem.split()[0] for problem in problems])
        self.assertIn('"speed"', problems[0])

    def test_a_topology_that_is_not_there(self):
        (problem,) = self.refused("--topology=nowhere.textproto")
        self.assertIn("nowhere.textproto", problem)

    def test_broken_config_flags_and_topology_are_reported_at_once(self):
        config = write(self.folder, "c.textproto",
                       'tcp_address: "nowhere"\nmax_threads: 1\nlog_level: LOG_LEVEL_INFO\n')
        topology = write(self.folder, "t.textproto", "iommus { }\n")
        problems = "\n".join(self.refused(
            "--config", config, "--topology", topology, "--no_such_flag=1", "stray",
            "--max_message_bytes=many", "--drain_timeout_seconds=9999", "--log_level=loud"))
        for part in ("--no_such_flag: no such flag", '"stray"', '--max_message_bytes: "many"',
                     "--drain_timeout_seconds: 9999 is not in 0..3600", '--log_level: "loud"',
                     'c.textproto:1:1: tcp_address: "nowhere"',
                     "c.textproto:2:1: max_threads: 1 is not in 24..8192", "t.textproto:1:"):
            self.assertIn(part, problems)

    def test_a_config_file_with_an_unknown_field(self):
        (problem,) = self.refused("--config", write(self.folder, "c.textproto", "colour: 3\n"))
        self.assertTrue(problem.startswith("c.textproto:1:1:"), problem)

    def test_a_flag_without_its_value_and_one_given_twice(self):
        problems = self.refused("--log_level=info", "--log_level=debug", "--topology")
        self.assertEqual(["--log_level: given twice", "--topology: needs a value"],
                         sorted(problems))

    def test_a_socket_path_that_is_too_long(self):
        (problem,) = self.refused("--unix_socket=" + 108 * "x")
        self.assertIn("at most 107", problem)


class InformationTest(unittest.TestCase):
    def test_help_names_every_flag(self):
        ended = daemon.run("--help")
        self.assertEqual((0, ""), (ended.returncode, ended.stderr))
        for flag in ("config", "state_dir", "unix_socket", "tcp_address", "metrics_address",
                     "health_address",
                     "topology", "max_message_bytes", "max_threads", "max_connections",
                     "max_streams_per_connection", "max_metadata_bytes", "max_buffered_bytes",
                     "handshake_timeout_ms",
                     "keepalive_interval_ms", "keepalive_timeout_ms",
                     "min_client_keepalive_interval_ms",
                     "drain_timeout_seconds", "max_calls", "max_revokes", "max_streams",
                     "max_wait_seconds", "stream_write_timeout_seconds",
                     "max_stream_bytes_in_flight",
                     "log_level", "version", "help"):
            self.assertIn(f"--{flag} ", ended.stdout + " ")
        self.assertLessEqual(max(map(len, ended.stdout.splitlines())), 100)

    def test_version(self):
        ended = daemon.run("--version")
        self.assertEqual((0, "viommud 0.1.0\n"), (ended.returncode, ended.stdout))


class PlacesTest(unittest.TestCase):
    """What somebody else has is not taken: one clear line in the log, exit code 1."""

    def failed(self, *flags, folder=None):
        """The error of a start that fails with these flags."""
        ended = daemon.run(PORT_0, *flags, folder=folder)
        self.assertEqual((FAILURE, ""), (ended.returncode, ended.stdout), ended.stderr)
        events = [json.loads(line) for line in ended.stderr.splitlines()]
        self.assertEqual(["start", "start_failed"], [event["event"] for event in events])
        self.assertEqual("error", events[-1]["level"])
        return events[-1]["error"]

    def listener(self, family=socket.AF_INET, address=("127.0.0.1", 0)):
        listening = self.enterContext(socket.socket(family))
        listening.bind(address)
        listening.listen()
        return listening

    def test_a_tcp_port_in_use(self):
        port = self.listener().getsockname()[1]
        error = self.failed(f"--tcp_address=127.0.0.1:{port}")
        self.assertIn(f"127.0.0.1:{port}", error)

    def test_the_tcp_port_of_another_viommud(self):
        other = self.enterContext(daemon.Daemon("--tcp_address=127.0.0.1:0"))
        address = other.endpoints["tcp_address"]
        self.assertIn(address, self.failed(f"--tcp_address={address}"))
        self.assertEqual("soft", grpcurl.Client.over_tcp(other).get("HostService/GetHost")["backend"])

    def test_a_metrics_port_in_use(self):
        port = self.listener().getsockname()[1]
        folder = daemon.new_folder()
        ended = daemon.run(f"--metrics_address=127.0.0.1:{port}", folder=folder)
        self.assertEqual(FAILURE, ended.returncode)
        self.assertIn(f"metrics address 127.0.0.1:{port}", ended.stderr)
        self.assertFalse(os.path.exists(os.path.join(folder, ".state", "endpoints.json")))

    def test_the_socket_of_a_live_viommud(self):
        live = self.enterContext(daemon.Daemon())
        error = self.failed("--state_dir=another", "--unix_socket=state/viommud.sock",
                            folder=live.folder)
        self.assertEqual("socket state/viommud.sock is in use by a running viommud", error)
        self.assertEqual("soft", grpcurl.Client(live).get("HostService/GetHost")["backend"])

    def test_the_state_folder_of_a_live_viommud(self):
        live = self.enterContext(daemon.Daemon())
        error = self.failed("--state_dir=state", "--unix_socket=other.sock", folder=live.folder)
        self.assertEqual("state folder state is in use by a running viommud", error)
        self.assertEqual("soft", grpcurl.Client(live).get("HostService/GetHost")["backend"])
        self.assertTrue(os.path.exists(os.path.join(live.state_dir, "endpoints.json")))

    def test_a_file_where_the_socket_should_be(self):
        folder = daemon.new_folder()
        write(folder, "mine", "precious")
        self.assertIn("no socket", self.failed("--unix_socket=mine", folder=folder))
        with open(os.path.join(folder, "mine"), encoding="utf-8") as file:
            self.assertEqual("precious", file.read())

    def test_a_state_folder_that_can_not_be_written(self):
        folder = daemon.new_folder()
        write(folder, "file", "")
        # Root may write to any folder, but not even root to one that is a file, or to /proc.
        for path, what in (("/proc", "can not be written"), ("file", "can not be used"),
                           ("file/state", "can not be made")):
            with self.subTest(path):
                error = self.failed(f"--state_dir={path}", "--unix_socket=v.sock", folder=folder)
                self.assertIn(f"state folder {path}: {what}", error)
                self.assertFalse(os.path.exists(os.path.join(folder, "v.sock")))


class ServingTest(unittest.TestCase):
    def test_the_socket_and_the_state_folder_are_the_owner_s_alone(self):
        with daemon.Daemon() as running:
            mode = os.stat(os.path.join(running.state_dir, "viommud.sock")).st_mode
            self.assertTrue(stat.S_ISSOCK(mode))
            self.assertEqual(0o600, stat.S_IMODE(mode))
            self.assertEqual(0o700, stat.S_IMODE(os.stat(running.state_dir).st_mode))

    def test_no_tcp_unless_told(self):
        with daemon.Daemon() as running:
            self.assertEqual([], listening_tcp(running.pid))
            self.assertEqual({"pid", "unix_socket"}, set(running.endpoints))
        with daemon.Daemon("--tcp_address=127.0.0.1:0", metrics=True) as running:
            self.assertEqual({running.endpoints["tcp_address"], running.metrics_address},
                             set(listening_tcp(running.pid)))

    def test_the_lines_it_prints_work_when_pasted(self):
        with daemon.Daemon() as running:
            greeting = running.greeting()
            lines = re.findall(r"^  \S+ (-plaintext -unix) (\S+) (\S+)$", greeting, re.M)
            self.assertEqual(3, len(lines), greeting)
            client = grpcurl.Client(running)
            for _, path, method in lines:
                self.assertEqual(running.socket, path)
                self.assertTrue(client.get(method.removeprefix("viommu.v1.")), method)

    def test_a_killed_daemon_s_socket_is_replaced(self):
        killed = daemon.Daemon()
        killed.kill()
        self.assertTrue(os.path.exists(os.path.join(killed.state_dir, "viommud.sock")))
        with daemon.Daemon(folder=killed.folder) as running:
            self.assertEqual("soft", grpcurl.Client(running).get("HostService/GetHost")["backend"])

    def test_it_leaves_no_socket_behind(self):
        with daemon.Daemon() as running:
            pass
        self.assertEqual(["lock"], os.listdir(running.state_dir))

    def test_the_log_is_one_json_object_a_line(self):
        with daemon.Daemon() as running:
            pass
        events = running.events()
        self.assertEqual(["start", "ready", "drain", "stop"], [event["event"] for event in events])
        for event in events:
            self.assertRegex(event["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
            self.assertEqual("info", event["level"])

    def test_a_failed_call_is_logged_under_debug(self):
        with daemon.Daemon("--log_level=debug") as running:
            grpcurl.Client(running).call("IoasService/GetIoas", {"name": "ioas/none"})
        self.assertTrue(any("GetIoas" in json.dumps(event) and event["level"] == "debug"
                            for event in running.events()), running.log())

    def test_sigint_stops_it_too(self):
        running = daemon.Daemon()
        running.signal(signal.SIGINT)
        self.assertEqual(0, running.wait())

    def test_a_config_file_is_obeyed_and_a_flag_wins_over_it(self):
        folder = daemon.new_folder()
        write(folder, "c.textproto",
              'tcp_address: "127.0.0.1:0"\nunix_socket: "file.sock"\ntopology: "t.textproto"\n')
        write(folder, "t.textproto", 'iommus { id: "only" vtd {} }\n')
        with daemon.Daemon("--config=c.textproto", "--unix_socket=flag.sock",
                           folder=folder, metrics=True) as running:
            self.assertEqual("flag.sock", os.path.basename(running.socket))
            client = grpcurl.Client.over_tcp(running)
            (iommu,) = client.get("HostService/ListIommus")["iommus"]
            self.assertEqual("iommus/only", iommu["name"])
            self.assertEqual(0, metrics.Metrics(running).total("viommu_objects", kind="device"))


def listening_tcp(pid):
    """The TCP addresses, IPv4 or IPv6, on which the process listens."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue
        inodes.update(re.findall(r"^socket:\[(\d+)\]$", link))
    addresses = []
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{pid}/net/{table}", encoding="ascii") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and fields[9] in inodes:  # LISTEN
                    host, port = fields[1].split(":")
                    addresses.append(f"{ip_address(host)}:{int(port, 16)}")
    return addresses


def ip_address(text):
    """What the kernel writes as words in hexadecimal, each in the processor's byte order."""
    words = [int(text[i:i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    return getattr(address, "ipv4_mapped", None) or address


if __name__ == "__main__":
    case_report.main()
