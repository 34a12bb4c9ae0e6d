"""Page faults over the real binary: from a device's request to its retried DMA."""
import base64
import unittest

from tests.e2e import daemon
from tests.e2e import grpcurl
from tests.e2e import metrics
from tools import case_report

STREAM = "FaultService/StreamFaults"
QUEUE = "faultQueues/q"
DEVICE = "devices/0000:81:00.0"  # It has page requests.
PAGE = 4096
IOVA = 0x200000
BYTES = base64.b64encode(b"faulted").decode()


class FaultTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(daemon.Daemon(metrics=True))
        self.client = grpcurl.Client(self.daemon)
        self.client.get("MemoryService/CreateMemoryRegion",
                        {"memory_region_id": "ram", "memory_region": {"size_bytes": PAGE}})
        self.client.get("IoasService/CreateIoas", {"ioas_id": "vm"})
        self.client.get("DeviceService/ClaimDevice", {"name": DEVICE})
        self.client.get("FaultService/CreateFaultQueue",
                        {"fault_queue_id": "q", "fault_queue": {"depth": 2}})
        self.client.get("DomainService/CreateDomain", {
            "domain_id": "d",
            "domain": {"paging": {"ioas": "ioas/vm", "device": DEVICE, "fault_queue": QUEUE}}})
        self.client.get("DeviceService/AttachDevice", {"name": DEVICE, "domain": "domains/d"})

    def open(self):
        stream = self.client.open(STREAM)
        self.addCleanup(stream.kill)
        stream.send({"open": {"name": QUEUE}})
        return stream

    def ask(self, group):
        self.client.get("SimulationService/RaisePageFault",
                        {"name": DEVICE, "iova": IOVA, "write": True, "group": group})

    def told(self):
        answer = self.client.get("SimulationService/ListPageResponses", {"name": DEVICE})
        return [(response["group"], response["code"].removeprefix("PAGE_RESPONSE_CODE_"))
                for response in answer.get("responses", [])]

    def write(self):
        return self.client.get("SimulationService/Dma",
                               {"name": DEVICE, "iova": IOVA, "write_data": BYTES})

    def test_a_device_goes_on_once_its_page_is_mapped_and_its_fault_answered(self):
        self.assertIn("fault", self.write())
        stream = self.open()
        self.ask(7)
        fault = stream.receive()["fault"]
        self.assertEqual((1, "1", DEVICE, "domains/d", 7, hex(IOVA)),
                         (fault["cookie"], fault["sequence"], fault["device"], fault["domain"],
                          fault["group"], fault["pages"][0]["iova_text"]))
        self.assertEqual([], self.told())
        self.client.get("IoasService/Map", {"name": "ioas/vm", "mappings": [
            {"iova": IOVA, "memory_region": "memoryRegions/ram", "length": PAGE}]})
        stream.send({"responses": {"sequence": 1, "responses": [
            {"cookie": fault["cookie"], "code": "PAGE_RESPONSE_CODE_SUCCESS"}]}})
        self.assertEqual({"answer": {"sequence": "1"}}, stream.receive())
        self.assertEqual([(7, "SUCCESS")], self.told())
        self.assertNotIn("fault", self.write())
        self.assertEqual("OK", stream.finish().code)
        scrape = metrics.Metrics(self.daemon)
        self.assertEqual(1, scrape.total("viommu_page_fault_answers_total", code="success"))
        self.assertEqual(0, scrape.total("viommu_page_fault_groups_waiting"))

    def test_what_is_unanswered_is_sent_again_when_the_client_was_killed(self):
        self.ask(1)
        self.ask(2)
        stream = self.open()
        first = [stream.receive()["fault"], stream.receive()["fault"]]
        stream.kill()
        again = self.open()
        self.assertEqual(first, [again.receive()["fault"], again.receive()["fault"]])

    def test_what_finds_the_queue_full_is_lost_and_the_stream_says_so(self):
        for group in (1, 2, 3):
            self.ask(group)
        self.assertEqual([(3, "FAILURE")], self.told())
        stream = self.open()
        self.assertEqual({"lost": {"lost_groups": "1"}}, stream.receive())
        self.assertEqual(1, stream.receive()["fault"]["cookie"])

    def test_a_detachment_answers_what_waits(self):
        self.ask(1)
        self.client.get("DeviceService/DetachDevice", {"name": DEVICE})
        self.assertEqual([(1, "INVALID")], self.told())
        late = self.client.call("FaultService/RespondFault", {
            "name": QUEUE, "responses": [{"cookie": 1, "code": "PAGE_RESPONSE_CODE_SUCCESS"}]})
        self.assertEqual(("NOT_FOUND", "FAULT_NOT_FOUND"), (late.code, late.failure.reason))


if __name__ == "__main__":
    case_report.main()
