"""What holds for every service alike: validate_only, request_id, etag and pages."""
import itertools
import unittest

from tests.e2e import daemon
from tests.e2e import every_rpc
from tests.e2e import grpcurl
from tests.e2e import state
from tools import case_report

# What only the real change can know: when it happens, what is numbered by it, chosen by it, or
# counted by the hardware on the way.
_NOT_FORESEEN = {"uid", "etag", "revision", "create_time", "mapping_revision"}
_ONLY_FORESEEN = {"planned_leaves"}


def foreseeable(answer):
    """`answer` without what a dry run cannot know, and what it alone tells."""
    if isinstance(answer, dict):
        return {key: foreseeable(value) for key, value in answer.items()
                if key not in _NOT_FORESEEN | _ONLY_FORESEEN}
    return answer


class MutationsTest(unittest.TestCase):
    """Every mutation, in a session where it has something to do."""

    def setUp(self):
        self.daemon = self.enterContext(daemon.Daemon(daemon.LISTENERS, metrics=True))
        self.client = grpcurl.Client(self.daemon)

    def each_mutation(self, make):
        """Goes through the session; `make` makes each mutation and returns its answer."""
        answers = {}
        for method, request, _ in every_rpc.STEPS:
            request = every_rpc.complete(request, answers)
            if not every_rpc.is_mutation(method):
                answers[method] = every_rpc.ask(self.client, method, request)
                continue
            with self.subTest(method):
                answers[method] = make(method, request)

    def test_validate_only_answers_as_the_change_would_and_changes_nothing(self):
        def make(method, request):
            before = state.snapshot(self.daemon, self.client)
            dry = self.client.get(method, dict(request, validate_only=True))
            self.assertEqual(before, state.snapshot(self.daemon, self.client))
            real = self.client.get(method, request)
            self.assertEqual(foreseeable(real), foreseeable(dry))
            return real

        self.each_mutation(make)

    def test_a_repeated_request_gets_the_first_answer(self):
        numbers = itertools.count()

        def make(method, request):
            # A method may be called for more than one thing.
            request = dict(request, request_id=f"{method}-{next(numbers)}")
            first = self.client.get(method, request)
            # Every change raises the host's revision.
            after = self.client.get("HostService/GetHost")
            self.assertEqual(first, self.client.get(method, request))
            self.assertEqual(after, self.client.get("HostService/GetHost"))
            return first

        self.each_mutation(make)


class EtagTest(unittest.TestCase):
    def test_an_object_is_deleted_under_its_current_etag_only(self):
        client = grpcurl.Client(self.enterContext(daemon.Daemon()))
        made = client.get("IoasService/CreateIoas", {"ioas_id": "space"})
        changed = client.get("IoasService/SetAllowedIovaRanges", {
            "name": "ioas/space", "ranges": [{"first": 0, "last": 0xffff}], "etag": made["etag"]})
        self.assertNotEqual(made["etag"], changed["etag"])
        stale = client.call("IoasService/DeleteIoas",
                            {"name": "ioas/space", "etag": made["etag"]})
        self.assertEqual(("ABORTED", "ETAG_MISMATCH"), (stale.code, stale.failure.reason))
        client.get("IoasService/DeleteIoas", {"name": "ioas/space", "etag": changed["etag"]})

    def test_mapping_leaves_the_etag_alone(self):
        client = grpcurl.Client(self.enterContext(daemon.Daemon()))
        made = client.get("IoasService/CreateIoas", {"ioas_id": "space"})
        client.get("MemoryService/CreateMemoryRegion",
                   {"memory_region_id": "ram", "memory_region": {"size_bytes": 4096}})
        client.get("IoasService/Map", {"name": "ioas/space", "mappings": [
            {"memory_region": "memoryRegions/ram", "length": 4096}]})
        mapped = client.get("IoasService/GetIoas", {"name": "ioas/space"})
        self.assertEqual(made["etag"], mapped["etag"])
        self.assertGreater(int(mapped["mapping_revision"]), int(made.get("mapping_revision", 0)))


# (listing, its field, its parent, how many there are in the session below)
LISTINGS = [
    ("HostService/ListIommus", "iommus", None, 2),
    ("HostService/ListInvalidationQueues", "invalidation_queues", None, 2),
    ("DeviceService/ListDevices", "devices", None, 8),
    ("DeviceService/ListAttachments", "attachments", None, 3),
    ("DeviceService/ListPasids", "pasids", "devices/0000:81:00.0", 5),
    ("MemoryService/ListMemoryRegions", "memory_regions", None, 4),
    ("IoasService/ListIoas", "ioas", None, 4),
    ("IoasService/ListMappings", "mappings", "ioas/space-0", 7),
    ("DomainService/ListDomains", "domains", None, 2 + 3),
    ("ListenerService/ListListeners", "listeners", None, 4),
]


class PagesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(daemon.Daemon(daemon.LISTENERS))
        cls.client = grpcurl.Client(cls.daemon)
        for i in range(4):
            cls.client.get("ListenerService/CreateListener", {"listener_id": f"tenant-{i}"})
            cls.client.get("MemoryService/CreateMemoryRegion", {
                "memory_region_id": f"ram-{i}", "memory_region": {"size_bytes": 1 << 20}})
            cls.client.get("IoasService/CreateIoas", {"ioas_id": f"space-{i}"})
        cls.client.get("IoasService/Map", {"name": "ioas/space-0", "mappings": [
            {"iova": i << 20, "memory_region": "memoryRegions/ram-0", "length": 4096}
            for i in range(7)]})
        for i, device in enumerate(("0000:01:00.0", "0000:02:00.1", "0000:81:00.0")):
            name = f"devices/{device}"
            cls.client.get("DeviceService/ClaimDevice", {"name": name})
            cls.client.get("DomainService/CreateDomain", {
                "domain_id": f"paging-{i}",
                "domain": {"paging": {"ioas": f"ioas/space-{i}", "device": name}}})
            cls.client.get("DeviceService/AttachDevice",
                           {"name": name, "domain": f"domains/paging-{i}"})
        for _ in range(5):
            cls.client.get("DeviceService/AllocatePasid", {"name": "devices/0000:81:00.0"})

    def pages(self, listing, parent, page_size):
        """The pages of a listing, each under the token of the one before."""
        request = {"page_size": page_size, **({"parent": parent} if parent else {})}
        while True:
            page = self.client.get(listing, request)
            yield page
            if "next_page_token" not in page:
                return
            request["page_token"] = page["next_page_token"]

    def test_pages_are_the_listing_in_pieces(self):
        for listing, field, parent, count in LISTINGS:
            whole = self.client.get(listing, {"parent": parent} if parent else {})[field]
            self.assertEqual(count, len(whole), listing)
            for page_size in (1, 3, count, count + 1):
                with self.subTest(listing, page_size=page_size):
                    pages = [page[field] for page in self.pages(listing, parent, page_size)]
                    self.assertEqual(whole, sum(pages, []))
                    self.assertEqual({page_size}, {len(page) for page in pages[:-1]} or {page_size})

    def test_a_page_goes_on_where_the_last_one_ended_whatever_changed(self):
        first = self.client.get("IoasService/ListIoas", {"page_size": 2})
        self.assertEqual(["ioas/space-0", "ioas/space-1"],
                         [ioas["name"] for ioas in first["ioas"]])
        self.client.get("IoasService/CreateIoas", {"ioas_id": "space-00"})
        self.addCleanup(self.client.get, "IoasService/DeleteIoas", {"name": "ioas/space-00"})
        second = self.client.get("IoasService/ListIoas",
                                 {"page_size": 2, "page_token": first["next_page_token"]})
        self.assertEqual(["ioas/space-2", "ioas/space-3"],
                         [ioas["name"] for ioas in second["ioas"]])


if __name__ == "__main__":
    case_report.main()
