"""The main job with the real binary and the real grpcurl, and every RPC of every service once."""
import base64
import unittest

from tests.e2e import daemon
from tests.e2e import every_rpc
from tests.e2e import grpcurl
from tools import case_report

DEVICE = "devices/0000:01:00.0"
GIB = 1 << 30
PAGE = 4096
IOVA = 0x40000000


def b64(data):
    return base64.b64encode(data).decode()


def unb64(text):
    return base64.b64decode(text)


class MainJobTest(unittest.TestCase):
    """One device's life with a tenant, from claim to release."""

    def setUp(self):
        self.daemon = self.enterContext(daemon.Daemon())
        self.client = grpcurl.Client(self.daemon)

    def get(self, method, **request):
        return self.client.get(method, request)

    def read(self, iova, length):
        return self.get("SimulationService/Dma", name=DEVICE, iova=iova, read_length=length)

    def write(self, iova, data):
        return self.get("SimulationService/Dma", name=DEVICE, iova=iova, write_data=b64(data))

    def make_space(self, name, region):
        """A region of 1 GiB, mapped at IOVA of a space of its own, seen through a domain."""
        self.get("MemoryService/CreateMemoryRegion", memory_region_id=region,
                 memory_region={"size_bytes": GIB})
        self.get("IoasService/CreateIoas", ioas_id=name)
        self.get("DomainService/CreateDomain", domain_id=name,
                 domain={"paging": {"ioas": f"ioas/{name}", "device": DEVICE}})
        answer = self.get("IoasService/Map", name=f"ioas/{name}", mappings=[
            {"iova": IOVA, "memory_region": f"memoryRegions/{region}", "length": GIB}])
        self.assertEqual([str(IOVA)], answer["iovas"])

    def test_claims_maps_moves_and_releases(self):
        claimed = self.get("DeviceService/ClaimDevice", name=DEVICE)
        self.assertEqual("DEVICE_OWNERSHIP_CLAIMED", claimed["ownership"])
        self.assertEqual("domains/blocked", claimed["domain"])
        self.assertIn("fault", self.read(IOVA, 16), "a claimed device is blocked")

        self.make_space("guest", "ram")
        attached = self.get("DeviceService/AttachDevice", name=DEVICE, domain="domains/guest")
        self.assertEqual("domains/guest", attached["attachment"]["domain"])
        self.assertIn("transition", attached)

        self.device_and_processor_see_the_same_bytes()
        self.replacing_shows_the_other_memory()
        self.translates_and_lists()
        self.what_is_unmapped_faults()
        self.takes_everything_back()

    def device_and_processor_see_the_same_bytes(self):
        for name, offset in (("first", 0), ("across pages", 5 * PAGE - 100), ("last", GIB - 256)):
            with self.subTest(name):
                by_processor = bytes(range(256))
                self.get("SimulationService/WriteMemory", name="memoryRegions/ram", offset=offset,
                         data=b64(by_processor))
                read = self.read(IOVA + offset, 256)
                self.assertEqual("256", read["bytes_done"])
                self.assertEqual(by_processor, unb64(read["data"]))

                by_device = by_processor[::-1]
                self.assertEqual({"bytes_done": "256"}, self.write(IOVA + offset, by_device))
                memory = self.get("SimulationService/ReadMemory", name="memoryRegions/ram",
                                  offset=offset, length=256)
                self.assertEqual(by_device, unb64(memory["data"]))

    def replacing_shows_the_other_memory(self):
        self.make_space("copy", "ram-copy")
        self.get("SimulationService/WriteMemory", name="memoryRegions/ram", data=b64(b"old memory"))
        self.get("SimulationService/WriteMemory", name="memoryRegions/ram-copy",
                 data=b64(b"new memory"))
        self.assertEqual(b"old memory", unb64(self.read(IOVA, 10)["data"]))
        replaced = self.get("DeviceService/ReplaceAttachment", name=DEVICE, domain="domains/copy")
        self.assertTrue(replaced["transition"]["hitless"])
        self.assertEqual(b"new memory", unb64(self.read(IOVA, 10)["data"]))
        back = self.get("DeviceService/ReplaceAttachment", name=DEVICE, domain="domains/guest")
        self.assertEqual("domains/guest", back["attachment"]["domain"])
        self.assertEqual(b"old memory", unb64(self.read(IOVA, 10)["data"]))

    def translates_and_lists(self):
        answer = self.get("IoasService/Translate", name="ioas/guest", iova=IOVA + PAGE + 1)
        self.assertEqual("memoryRegions/ram", answer["memory_region"])
        self.assertEqual(str(PAGE + 1), answer["offset"])
        self.assertEqual(str(GIB - PAGE - 1), answer["contiguous_bytes"])
        (mapping,) = self.get("IoasService/ListMappings", parent="ioas/guest")["mappings"]
        self.assertEqual(
            {"iova": str(IOVA), "length": str(GIB), "text": "[0x40000000, 0x7fffffff]",
             "memory_region": "memoryRegions/ram", "permission": "PERMISSION_READ_WRITE",
             "state": "OBJECT_STATE_ACTIVE"}, mapping)
        (attachment,) = self.get("DeviceService/ListAttachments")["attachments"]
        self.assertEqual((DEVICE, "domains/guest"), (attachment["device"], attachment["domain"]))

    def what_is_unmapped_faults(self):
        answer = self.get("IoasService/Unmap", name="ioas/guest",
                          ranges=[{"iova": IOVA, "length": GIB}])
        self.assertEqual((str(GIB), "1"), (answer["unmapped_bytes"], answer["unmapped_count"]))
        for access in (self.read(IOVA, 10), self.write(IOVA, b"too late")):
            self.assertEqual("SSS.2", access["fault"]["reason"])
            self.assertEqual("second-stage entry not present", access["fault"]["description"])
            self.assertEqual("0x40000000", access["fault"]["iova_text"])
            self.assertNotIn("bytes_done", access)
        memory = self.get("SimulationService/ReadMemory", name="memoryRegions/ram", length=10)
        self.assertEqual(b"old memory", unb64(memory["data"]), "the blocked write wrote nothing")

    def takes_everything_back(self):
        self.get("DeviceService/DetachDevice", name=DEVICE)
        self.assertEqual({}, self.get("DeviceService/ListAttachments"))
        for name in ("guest", "copy"):
            self.get("DomainService/DeleteDomain", name=f"domains/{name}")
            self.get("IoasService/DeleteIoas", name=f"ioas/{name}")
        for region in ("ram", "ram-copy"):
            self.get("MemoryService/DeleteMemoryRegion", name=f"memoryRegions/{region}")
        released = self.get("DeviceService/ReleaseDevice", name=DEVICE)
        self.assertEqual("DEVICE_OWNERSHIP_HOST", released["ownership"])
        self.assertNotIn("claimed_by", released)
        self.assertEqual({}, self.get("IoasService/ListIoas"))
        self.assertEqual({}, self.get("MemoryService/ListMemoryRegions"))
        self.assertEqual(["domains/blocked", "domains/identity"], sorted(
            domain["name"] for domain in self.get("DomainService/ListDomains")["domains"]))


class EveryRpcTest(unittest.TestCase):
    def setUp(self):
        self.client = grpcurl.Client(self.enterContext(daemon.Daemon(daemon.LISTENERS)))

    def test_each_answers_as_documented(self):
        answers = {}
        for method, request, part in every_rpc.STEPS:
            with self.subTest(method):
                answer = every_rpc.ask(self.client, method, every_rpc.complete(request, answers))
                self.assertLessEqual(part.items(), answer.items())
                answers[method] = answer
        self.check_listings(answers)

    def check_listings(self, answers):
        """What can not be said by naming a few fields."""
        names = [iommu["name"] for iommu in answers["HostService/ListIommus"]["iommus"]]
        self.assertEqual(["iommus/dmar0", "iommus/dmar1"], names)
        self.assertEqual(8, len(answers["DeviceService/ListDevices"]["devices"]))
        self.assertEqual(2, len(
            answers["HostService/ListInvalidationQueues"]["invalidation_queues"]))
        types = [region["type"] for region in
                 answers["DeviceService/ListReservedRegions"]["reserved_regions"]]
        self.assertEqual(["RESERVED_REGION_TYPE_DIRECT_RELAXABLE", "RESERVED_REGION_TYPE_MSI"],
                         types)
        self.assertEqual([5, 9], [taken["pasid"] for taken in
                                  answers["DeviceService/ListPasids"]["pasids"]])
        (mapping,) = answers["IoasService/ListMappings"]["mappings"]
        self.assertEqual("PERMISSION_READ", mapping["permission"])
        tables = [entry["table"] for entry in answers["SimulationService/DumpTables"]["entries"]]
        self.assertEqual(["root", "context", "pasid-directory", "pasid"], tables[:4])

    def test_no_rpc_is_left_out(self):
        served = set()
        for service in self.client.listing():
            if service.startswith("viommu."):
                served.update(self.client.listing(service))
        methods = [step[0] for step in every_rpc.STEPS + every_rpc.ABSENT]
        self.assertEqual(served, {"viommu.v1." + method.replace("/", ".") for method in methods})

    def test_what_the_host_does_not_have_is_refused(self):
        self.client.get("DeviceService/ClaimDevice", {"name": every_rpc.DEVICE})
        for method, request, code, reason in every_rpc.ABSENT:
            with self.subTest(method):
                answer = self.client.call(method, request)
                self.assertEqual((code, reason), (answer.code, answer.failure.reason))

    def test_reflection_describes_what_is_served(self):
        self.assertEqual(
            ["grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"] +
            [f"viommu.v1.{name}Service" for name in
             ("Device", "Domain", "Fault", "Host", "Ioas", "Listener", "Mapping", "Memory",
              "Simulation", "Viommu", "Watch")],
            sorted(self.client.listing()))


if __name__ == "__main__":
    case_report.main()
