"""Tenants with sockets of their own: what each can do, and what no other can do to it."""
import os
import socket
import stat
import unittest

from tests.e2e import attack
from tests.e2e import daemon
from tests.e2e import grpcurl
from tests.e2e import metrics
from tools import case_report

DEVICE = "devices/0000:01:00.0"
OTHER_DEVICE = "devices/0000:81:00.0"
PAGE = 4096
IOVA = 0x100000
STREAM = "MappingService/StreamMappings"
DENIED = ("PERMISSION_DENIED", "NOT_OPERATOR")

# Deleting a listener cuts, as the end of the daemon does; neither waits for anybody who is silent.
# Whoever does wait, waits for longer than any call may take.
_NOT_AT_ONCE = "--drain_timeout_seconds=600"
_SOON_SECONDS = 60


def told(answer):
    """Code and reason of an answer."""
    return answer.code, answer.failure.reason if answer.failure else ""


class Tenants(unittest.TestCase):
    """A daemon with the tenants "one" and "two"."""

    FLAGS = (_NOT_AT_ONCE,)
    METRICS = False

    def setUp(self):
        self.daemon = self.enterContext(daemon.Daemon(daemon.LISTENERS, *self.FLAGS,
                                                      metrics=self.METRICS))
        self.operator = grpcurl.Client(self.daemon)
        self.one, self.two = self.make("one"), self.make("two")

    def make(self, owner, **listener):
        self.operator.get("ListenerService/CreateListener",
                          {"listener_id": owner, "listener": listener})
        return grpcurl.Client.of_tenant(self.daemon, owner)

    def delete(self, owner):
        self.operator.get("ListenerService/DeleteListener", {"name": f"listeners/{owner}"})

    def give(self, device, owner, **request):
        self.operator.get("DeviceService/ClaimDevice", {"name": device, "owner": owner, **request})

    def path(self, *parts):
        return os.path.join(self.daemon.folder, "listeners", *parts)

    def work(self, client, device):
        """The tenant's memory, in its space, seen by its device."""
        client.get("MemoryService/CreateMemoryRegion",
                   {"memory_region_id": "ram", "memory_region": {"size_bytes": 16 * PAGE}})
        client.get("IoasService/CreateIoas", {"ioas_id": "space"})
        client.get("IoasService/Map", {"name": "ioas/space", "mappings": [
            {"iova": IOVA, "memory_region": "memoryRegions/ram", "length": PAGE}]})
        client.get("DomainService/CreateDomain", {
            "domain_id": "d", "domain": {"paging": {"ioas": "ioas/space", "device": device}}})
        client.get("DeviceService/AttachDevice", {"name": device, "domain": "domains/d"})

    def blocked(self, device):
        answer = self.operator.get("SimulationService/Dma",
                                   {"name": device, "iova": IOVA, "read_length": 1})
        return "fault" in answer


class IsolationTest(Tenants):
    def test_each_sees_what_is_its_own(self):
        for client, device, owner in ((self.one, DEVICE, "one"), (self.two, OTHER_DEVICE, "two")):
            self.give(device, owner)
            self.work(client, device)
        for client, device in ((self.one, DEVICE), (self.two, OTHER_DEVICE)):
            names = [ioas["name"] for ioas in client.get("IoasService/ListIoas")["ioas"]]
            self.assertEqual(["ioas/space"], names)
            attached = client.get("DeviceService/ListAttachments")["attachments"]
            self.assertEqual([device], [attachment["device"] for attachment in attached])
            claimed = [known["name"] for known in client.get("DeviceService/ListDevices")["devices"]
                       if "claimed_by" in known]
            self.assertEqual([device], claimed)
        names = [ioas["name"] for ioas in self.operator.get("IoasService/ListIoas")["ioas"]]
        self.assertEqual(["owners/one/ioas/space", "owners/two/ioas/space"], names)

    def test_nobody_reaches_what_is_another_s(self):
        self.give(OTHER_DEVICE, "two")
        self.two.get("IoasService/CreateIoas", {"ioas_id": "space"})
        self.assertEqual(("NOT_FOUND", "IOAS_NOT_FOUND"),
                         told(self.one.call("IoasService/GetIoas", {"name": "ioas/space"})))
        for method in ("GetIoas", "DeleteIoas", "Unmap"):
            answer = self.one.call(f"IoasService/{method}", {"name": "owners/two/ioas/space"})
            self.assertEqual(DENIED, told(answer), method)
        self.assertEqual(DENIED, told(self.one.call("DeviceService/DetachDevice",
                                                    {"name": OTHER_DEVICE, "owner": "two"})))
        for method, request in (
                ("DeviceService/AttachDevice", {"domain": "domains/blocked"}),
                ("DeviceService/DetachDevice", {}), ("DeviceService/ResetDevice", {}),
                ("DeviceService/AllocatePasid", {}),
                ("SimulationService/Dma", {"iova": 0, "read_length": 1}),
                ("SimulationService/DumpTables", {"iova": 0})):
            answer = self.one.call(method, {"name": OTHER_DEVICE, **request})
            self.assertEqual(("FAILED_PRECONDITION", "DEVICE_NOT_CLAIMED"), told(answer), method)

    def test_what_is_for_operators_is_refused(self):
        self.give(DEVICE, "one")
        self.one.get("MemoryService/CreateMemoryRegion",
                     {"memory_region_id": "ram", "memory_region": {"size_bytes": PAGE}})
        for method, request in (
                ("DeviceService/ClaimDevice", {"name": DEVICE}),
                ("DeviceService/ClaimDevice", {"name": OTHER_DEVICE}),
                ("DeviceService/ClaimDevice", {"name": OTHER_DEVICE, "owner": "one"}),
                ("DeviceService/ReleaseDevice", {"name": DEVICE}),
                ("DeviceService/SetDefaultDomain",
                 {"name": OTHER_DEVICE, "default_domain": "DEFAULT_DOMAIN_TYPE_DMA"}),
                ("SimulationService/HostMap",
                 {"name": OTHER_DEVICE, "memory_region": "memoryRegions/ram", "length": PAGE}),
                ("SimulationService/HostUnmap",
                 {"name": OTHER_DEVICE, "iova": 0, "length": PAGE}),
                ("SimulationService/SetDeviceHealth",
                 {"name": DEVICE, "health": "DEVICE_HEALTH_UNHEALTHY"}),
                ("SimulationService/UnplugDevice", {"name": DEVICE}),
                ("SimulationService/PlugDevice", {"name": DEVICE}),
                ("SimulationService/ExportTables", {}),
                ("ListenerService/CreateListener", {"listener_id": "three"}),
                ("ListenerService/GetListener", {"name": "listeners/one"}),
                ("ListenerService/ListListeners", {}),
                ("ListenerService/DeleteListener", {"name": "listeners/two"})):
            with self.subTest(method):
                self.assertEqual(DENIED, told(self.one.call(method, request)))
        self.assertEqual(("PERMISSION_DENIED", "IDENTITY_NOT_ALLOWED"), told(self.one.call(
            "DeviceService/AttachDevice", {"name": DEVICE, "domain": "domains/identity"})))

    def test_metadata_changes_nothing(self):
        for header in ("principal: local", "x-principal: local", "authorization: local"):
            answer = self.one.call("ListenerService/ListListeners", {}, flags=("-H", header))
            self.assertEqual(DENIED, told(answer))

    def test_a_watch_shows_nothing_of_others(self):
        self.two.get("IoasService/CreateIoas", {"ioas_id": "secret"})
        watch = self.one.call("WatchService/Watch", {"until_sync": True})
        self.assertEqual("OK", watch.code)
        self.assertNotIn("secret", str(watch.messages))
        self.assertNotIn("two", str(watch.messages))

    def test_health_and_reflection_are_there(self):
        self.assertEqual({"status": "SERVING"}, self.one.get("grpc.health.v1.Health/Check"))
        self.assertIn("viommu.v1.IoasService", self.one.listing())


class DevicesTest(Tenants):
    def test_a_device_goes_from_tenant_to_tenant_without_the_host(self):
        self.give(DEVICE, "one")
        self.work(self.one, DEVICE)
        self.assertFalse(self.blocked(DEVICE))
        move = {"name": DEVICE, "owner": "two", "from_owner": "one"}
        refused = self.operator.call("DeviceService/ClaimDevice", move)
        self.assertEqual(("FAILED_PRECONDITION", "IN_USE"), told(refused))
        self.assertEqual([DEVICE], refused.failure.subjects)
        self.operator.get("DeviceService/DetachDevice", {"name": DEVICE, "owner": "one"})
        self.assertTrue(self.blocked(DEVICE))
        moved = self.operator.get("DeviceService/ClaimDevice", move)
        self.assertEqual(("two", "domains/blocked"), (moved["claimed_by"], moved["domain"]))
        self.assertTrue(self.blocked(DEVICE))
        self.assertEqual(("FAILED_PRECONDITION", "DEVICE_NOT_CLAIMED"), told(self.one.call(
            "DeviceService/AttachDevice", {"name": DEVICE, "domain": "domains/d"})))
        self.work(self.two, DEVICE)
        self.assertFalse(self.blocked(DEVICE))

    def test_an_operator_names_whom_it_means(self):
        self.give(DEVICE, "one")
        for method in ("DetachDevice", "ReleaseDevice"):
            answer = self.operator.call(f"DeviceService/{method}", {"name": DEVICE, "owner": "two"})
            self.assertEqual(("FAILED_PRECONDITION", "DEVICE_CLAIMED"), told(answer), method)
        self.operator.get("DeviceService/ReleaseDevice", {"name": DEVICE, "owner": "one"})
        for field in ("owner", "from_owner"):
            answer = self.operator.call("DeviceService/ClaimDevice",
                                        {"name": DEVICE, field: "not/an owner"})
            self.assertEqual(("INVALID_ARGUMENT", "MALFORMED_NAME"), told(answer))
            self.assertEqual([field], answer.failure.fields)


class ListenersTest(Tenants):
    def test_shows_what_it_made(self):
        made = self.operator.get("ListenerService/GetListener", {"name": "listeners/one"})
        self.assertEqual(("listeners/one", "one", 0o660), (made["name"], made["owner"],
                                                           made["mode"]))
        self.assertTrue(made["path"].endswith("/listeners/one/viommu.sock"), made["path"])
        self.assertEqual(0o750, stat.S_IMODE(os.stat(self.path("one")).st_mode))
        self.assertEqual(0o660, stat.S_IMODE(os.stat(self.path("one", "viommu.sock")).st_mode))
        host = self.operator.get("HostService/GetHost")
        self.assertTrue(host["listeners"])
        self.assertEqual(128, host["limits"]["max_listeners"])

    def test_counts_connections(self):
        def count():
            shown = self.operator.get("ListenerService/ListListeners")["listeners"]
            return [listener.get("connections", 0) for listener in shown]
        watch = self.one.open("WatchService/Watch")
        self.addCleanup(watch.kill)
        watch.send({})
        watch.close()
        watch.receive()
        self.assertEqual([1, 0], count())
        watch.kill()
        attack.eventually(self, "the end is seen", lambda: count() == [0, 0])

    def test_refuses(self):
        os.mkdir(self.path("taken"))
        os.symlink("/nowhere", self.path("link"))
        for owner, listener, want in (
                ("", {}, ("INVALID_ARGUMENT", "MISSING_FIELD")),
                ("local", {}, ("INVALID_ARGUMENT", "RESERVED_OWNER")),
                ("../up", {}, ("INVALID_ARGUMENT", "MALFORMED_NAME")),
                ("a:b", {}, ("INVALID_ARGUMENT", "MALFORMED_NAME")),
                ("x", {"mode": 0o644}, ("INVALID_ARGUMENT", "INVALID_MODE")),
                ("one", {}, ("ALREADY_EXISTS", "LISTENER_EXISTS")),
                ("taken", {}, ("FAILED_PRECONDITION", "DIRECTORY_EXISTS")),
                ("link", {}, ("FAILED_PRECONDITION", "DIRECTORY_EXISTS"))):
            with self.subTest(owner, listener=listener):
                request = {"listener_id": owner, "listener": listener}
                self.assertEqual(want, told(self.operator.call("ListenerService/CreateListener",
                                                               request)))
        for method in ("GetListener", "DeleteListener"):
            answer = self.operator.call(f"ListenerService/{method}", {"name": "listeners/three"})
            self.assertEqual(("NOT_FOUND", "LISTENER_NOT_FOUND"), told(answer))
        self.assertEqual({"one", "two", "taken", "link"}, set(os.listdir(self.path())))

    def test_deletion_cuts_what_is_open(self):
        self.one.get("IoasService/CreateIoas", {"ioas_id": "space"})
        watch = self.one.open("WatchService/Watch")
        watch.send({})
        watch.close()
        watch.receive()
        mappings = self.one.open(STREAM)
        mappings.send({"open": {"name": "ioas/space"}}, {"unmap": {"sequence": 1, "iova": [0],
                                                                   "length": [PAGE]}})
        mappings.receive()
        other = self.two.open("WatchService/Watch")
        self.addCleanup(other.kill)
        other.send({"kinds": ["WATCH_KIND_IOAS"]})
        other.close()
        other.receive()
        self.delete("one")
        self.assertFalse(os.path.exists(self.path("one")))
        for stream in (watch, mappings):
            self.assertNotEqual("OK", stream.finish().code)
        self.assertEqual("NO_STATUS", self.one.call("HostService/GetHost").code)
        self.two.get("IoasService/CreateIoas", {"ioas_id": "space"})
        self.assertIn("space", str(other.receive()), "the other's goes on")

    def test_what_a_deleted_tenant_owned_stays_until_an_operator_takes_it(self):
        self.one.get("IoasService/CreateIoas", {"ioas_id": "space", "request_id": "first"})
        self.delete("one")
        self.operator.get("IoasService/GetIoas", {"name": "owners/one/ioas/space"})
        self.operator.get("IoasService/DeleteIoas", {"name": "owners/one/ioas/space"})
        again = self.make("one")
        again.get("IoasService/CreateIoas", {"ioas_id": "space", "request_id": "first"})
        self.assertEqual(["ioas/space"],
                         [ioas["name"] for ioas in again.get("IoasService/ListIoas")["ioas"]],
                         "it was made, and not only answered as before")

    def test_many_come_and_go_and_leave_nothing(self):
        def threads():
            return len(os.listdir(f"/proc/{self.daemon.pid}/task"))
        for owner in ("one", "two"):
            self.delete(owner)
        self.make("warm")
        self.delete("warm")
        files = attack.open_files(self.daemon)
        before = threads()
        for i in range(30):
            client = self.make(f"t{i % 3}")
            client.get("HostService/GetHost")
            self.delete(f"t{i % 3}")
        attack.eventually(self, "files", lambda: attack.open_files(self.daemon) <= files + 1)
        attack.eventually(self, "threads", lambda: threads() <= before + 2)
        self.assertEqual([], os.listdir(self.path()))


class RestartTest(Tenants):
    def restart(self, end):
        end()
        self.daemon = self.enterContext(daemon.Daemon(daemon.LISTENERS, folder=self.daemon.folder))
        self.operator = grpcurl.Client(self.daemon)

    def test_listens_again_where_it_listened(self):
        self.make("open", mode=0o666)
        before = self.operator.get("ListenerService/ListListeners")
        for end in (lambda: self.daemon.stop(), lambda: self.daemon.kill()):
            self.restart(end)
            self.assertEqual(before, self.operator.get("ListenerService/ListListeners"))
            self.one.get("IoasService/CreateIoas", {"ioas_id": "space"})
            self.assertEqual(DENIED, told(self.two.call("ListenerService/ListListeners")))
            self.assertEqual(0o666,
                             stat.S_IMODE(os.stat(self.path("open", "viommu.sock")).st_mode))

    def test_a_deleted_one_stays_away(self):
        self.delete("one")
        self.restart(self.daemon.kill)
        shown = self.operator.get("ListenerService/ListListeners")["listeners"]
        self.assertEqual(["listeners/two"], [listener["name"] for listener in shown])

    def test_leaves_alone_what_is_no_listener(self):
        self.daemon.stop()
        os.unlink(self.path("one", "viommu.sock"))
        os.symlink(self.path("two", "viommu.sock"), self.path("one", "viommu.sock"))
        os.symlink(self.path("two"), self.path("link"))
        with open(self.path("file"), "w", encoding="ascii") as file:
            file.write("text")
        for name in ("local", "Upper"):
            os.mkdir(self.path(name))
        self.restart(lambda: None)
        shown = self.operator.get("ListenerService/ListListeners")["listeners"]
        self.assertEqual(["listeners/two"], [listener["name"] for listener in shown])
        alone = {event["owner"] for event in self.daemon.events()
                 if event["event"] == "listener_left_alone"}
        self.assertEqual({"one", "link", "file", "local", "Upper"}, alone)
        self.assertTrue(os.path.islink(self.path("one", "viommu.sock")))
        self.assertEqual([], os.listdir(self.path("local")))

    def test_ends_at_once_with_tenants_who_hold_on(self):
        watch = self.one.open("WatchService/Watch")
        watch.send({})
        watch.close()
        watch.receive()
        self.assertEqual(0, self.daemon.stop())
        self.assertEqual(("UNAVAILABLE", "DRAINING"), told(watch.finish()))


class SharesTest(Tenants):
    METRICS = True
    FLAGS = ("--max_connections=16", "--max_streams=8", "--listener_share_percent=25")

    def connect(self, owner):
        """A connection that says nothing."""
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.settimeout(_SOON_SECONDS)
        here = os.open(self.daemon.folder, os.O_PATH)
        client.connect(f"/proc/self/fd/{here}/listeners/{owner}/viommu.sock")
        os.close(here)
        return client

    def test_a_tenant_that_takes_all_connections_takes_its_own(self):
        held = [self.connect("one") for _ in range(4)]
        try:
            self.assertEqual(b"", self.connect("one").recv(1), "one more is closed")
        except ConnectionResetError:
            pass
        self.assertEqual(4, len(held))
        self.two.get("HostService/GetHost")
        shown = self.operator.get("ListenerService/GetListener", {"name": "listeners/one"})
        self.assertLessEqual(shown["connections"], 4)
        self.assertLessEqual(1, attack.refused(self.daemon, "limit", "listener"))

    def test_metrics_count_tenants_and_name_nobody(self):
        self.give(DEVICE, "one")
        self.work(self.one, DEVICE)
        scrape = metrics.Metrics(self.daemon)
        values = {value for name in scrape.names() for labels, _ in scrape.samples(name)
                  for value in labels.values()}
        self.assertIn("listener", values)
        self.assertFalse({"one", "two"} & values)

    def test_a_tenant_that_takes_all_streams_takes_its_own(self):
        streams = []
        for _ in range(2):
            stream = self.one.open("WatchService/Watch")
            self.addCleanup(stream.kill)
            stream.send({})
            stream.close()
            stream.receive()
            streams.append(stream)
        refused = self.one.call("WatchService/Watch", {"until_sync": True})
        self.assertEqual(("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS"), told(refused))
        self.assertEqual("2", refused.failure.metadata["value"])
        self.assertEqual("OK", self.two.call("WatchService/Watch", {"until_sync": True}).code)
        self.assertEqual("OK", self.operator.call("WatchService/Watch", {"until_sync": True}).code)


class WithoutTenantsTest(unittest.TestCase):
    def test_a_daemon_without_listener_dir_says_so(self):
        client = grpcurl.Client(self.enterContext(daemon.Daemon()))
        host = client.get("HostService/GetHost")
        self.assertNotIn("listeners", host)
        self.assertNotIn("max_listeners", host["limits"])
        for method, request in (("CreateListener", {"listener_id": "one"}), ("ListListeners", {}),
                                ("GetListener", {"name": "listeners/one"}),
                                ("DeleteListener", {"name": "listeners/one"})):
            self.assertEqual(("UNIMPLEMENTED", "LISTENERS_UNAVAILABLE"),
                             told(client.call(f"ListenerService/{method}", request)))

    def test_a_directory_that_others_can_change_ends_the_start(self):
        folder = daemon.new_folder()
        os.mkdir(os.path.join(folder, "listeners"))
        os.chmod(os.path.join(folder, "listeners"), 0o777)
        done = daemon.run("--state_dir=state", "--metrics_address=", daemon.LISTENERS,
                          folder=folder)
        self.assertEqual(1, done.returncode)
        self.assertIn("others can write in it", done.stderr)


if __name__ == "__main__":
    case_report.main()
