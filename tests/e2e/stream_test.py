"""StreamMappings as grpcurl speaks it: sequence numbers, on_error, arrays, and how a stream ends."""
import unittest

from tests.e2e import daemon
from tests.e2e import grpcurl
from tests.e2e import metrics
from tools import case_report

STREAM = "MappingService/StreamMappings"
PAGE = 4096
RAM, ROM = "memoryRegions/ram", "memoryRegions/rom"
OPEN = {"open": {"name": "ioas/space", "default_memory_region": RAM}}
CONTINUE = {"open": {**OPEN["open"], "on_error": "ON_ERROR_CONTINUE"}}


def map_page(sequence, page):
    return {"map": {"sequence": sequence, "iova": [page * PAGE], "length": [PAGE]}}


def unmap_page(sequence, page):
    return {"unmap": {"sequence": sequence, "iova": [page * PAGE], "length": [PAGE]}}


def outcome(response):
    """(sequence, "OK" or the reason) of the answer to one batch."""
    status = response.get("status")
    return int(response["sequence"]), grpcurl.Failure(status).reason if status else "OK"


class StreamTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(daemon.Daemon(metrics=True))
        cls.client = grpcurl.Client(cls.daemon)

    def setUp(self):
        for region in ("ram", "rom"):
            self.client.get("MemoryService/CreateMemoryRegion", {
                "memory_region_id": region, "memory_region": {"size_bytes": 1 << 30}})
            self.addCleanup(self.client.get, "MemoryService/DeleteMemoryRegion",
                            {"name": f"memoryRegions/{region}"})
        self.client.get("IoasService/CreateIoas", {"ioas_id": "space"})
        self.addCleanup(self.client.get, "IoasService/DeleteIoas", {"name": "ioas/space"})

    def stream(self, *messages):
        """The answers of a stream that ends well."""
        answer = self.client.call(STREAM, list(messages))
        self.assertEqual("OK", answer.code, answer.text)
        return answer.messages

    def mappings(self):
        return self.client.get("IoasService/ListMappings",
                               {"parent": "ioas/space"}).get("mappings", [])

    def mapped_pages(self):
        return [int(mapping.get("iova", 0)) // PAGE for mapping in self.mappings()]

    def test_answers_carry_their_batch_s_number_in_order(self):
        numbers = [1, 2, 3, 7, 8, 1000, 1 << 40]
        answers = self.stream(OPEN, *(map_page(number, i) for i, number in enumerate(numbers)))
        self.assertEqual([(number, "OK") for number in numbers], [outcome(a) for a in answers])
        revisions = [int(answer["mapping_revision"]) for answer in answers]
        self.assertEqual(sorted(set(revisions)), revisions, "each batch has a revision of its own")
        self.assertEqual(list(range(len(numbers))), self.mapped_pages())

    def test_more_batches_than_may_be_in_flight_are_all_answered(self):
        count = 5 * self.client.get("HostService/GetHost")["limits"]["max_in_flight_batches"]
        answers = self.stream(OPEN, *(map_page(i + 1, i) for i in range(count)))
        self.assertEqual([(i + 1, "OK") for i in range(count)], [outcome(a) for a in answers])

    def test_a_number_that_does_not_ascend_fails_its_batch(self):
        answers = self.stream(CONTINUE, map_page(5, 0), map_page(5, 1), map_page(4, 2),
                              map_page(6, 3))
        self.assertEqual([(5, "OK"), (5, "SEQUENCE_NOT_ASCENDING"), (4, "SEQUENCE_NOT_ASCENDING"),
                          (6, "OK")], [outcome(a) for a in answers])
        self.assertEqual([0, 3], self.mapped_pages())

    def test_a_failure_stops_the_stream_until_it_is_acknowledged(self):
        stream = self.client.open(STREAM)
        stream.send(OPEN, map_page(1, 1), map_page(2, 1), map_page(3, 3))
        self.assertEqual([(1, "OK"), (2, "IOVA_OCCUPIED"), (3, "STREAM_STOPPED")],
                         [outcome(stream.receive()) for _ in range(3)])
        stream.send(unmap_page(4, 1))
        stopped = stream.receive()
        self.assertEqual("ABORTED", grpcurl.Failure(stopped["status"]).code)
        stream.send({"acknowledge": {}}, map_page(5, 5))
        self.assertEqual((5, "OK"), outcome(stream.receive()))
        self.assertEqual("OK", stream.finish().code)
        self.assertEqual([1, 5], self.mapped_pages())

    def test_a_malformed_batch_stops_the_stream_as_any_other_failure(self):
        bad = {"map": {"sequence": 2, "iova": [0, PAGE], "length": [PAGE, PAGE, PAGE]}}
        self.assertEqual([(1, "OK"), (2, "ARRAY_LENGTH_MISMATCH"), (3, "STREAM_STOPPED")],
                         [outcome(a) for a in
                          self.stream(OPEN, map_page(1, 1), bad, map_page(3, 3))])

    def test_under_continue_batches_behind_a_failure_are_tried(self):
        answers = self.stream(CONTINUE, map_page(1, 1), map_page(2, 1), map_page(3, 3),
                              unmap_page(4, 9), unmap_page(5, 1))
        self.assertEqual([(1, "OK"), (2, "IOVA_OCCUPIED"), (3, "OK"), (4, "IOVA_NOT_COVERED"),
                          (5, "OK")], [outcome(a) for a in answers])
        self.assertEqual([3], self.mapped_pages())

    def test_a_batch_with_a_bad_entry_is_not_applied_at_all(self):
        (answer,) = self.stream(OPEN, {"map": {
            "sequence": 1, "iova": [0, PAGE, 2 * PAGE, PAGE], "length": [PAGE]}})
        failure = grpcurl.Failure(answer["status"])
        self.assertEqual(("ALREADY_EXISTS", "IOVA_OCCUPIED"), (failure.code, failure.reason))
        self.assertEqual("3", failure.metadata["index"])
        self.assertEqual([], self.mappings())

    def test_an_element_alone_applies_to_all_entries(self):
        self.stream(OPEN, {"map": {
            "sequence": 1, "iova": [0, 4 * PAGE, 8 * PAGE], "offset": [16 * PAGE],
            "length": [2 * PAGE], "permission": ["PERMISSION_READ"],
            "memory_regions": [RAM, ROM], "memory_region_index": [1]}})
        self.assertEqual(
            [{"iova": iova, "length": 2 * PAGE, "offset": 16 * PAGE, "memory_region": ROM,
              "permission": "PERMISSION_READ"} for iova in (0, 4 * PAGE, 8 * PAGE)],
            [self.plain(mapping) for mapping in self.mappings()])

    def test_each_entry_may_have_elements_of_its_own(self):
        self.stream(OPEN, {"map": {
            "sequence": 1, "iova": [0, 4 * PAGE], "offset": [PAGE, 0], "length": [PAGE, 3 * PAGE],
            "permission": ["PERMISSION_WRITE", "PERMISSION_READ_WRITE"],
            "memory_regions": [RAM, ROM], "memory_region_index": [1, 0]}})
        self.assertEqual(
            [{"iova": 0, "length": PAGE, "offset": PAGE, "memory_region": ROM,
              "permission": "PERMISSION_WRITE"},
             {"iova": 4 * PAGE, "length": 3 * PAGE, "offset": 0, "memory_region": RAM,
              "permission": "PERMISSION_READ_WRITE"}],
            [self.plain(mapping) for mapping in self.mappings()])

    def plain(self, mapping):
        """With numbers, also where grpcurl leaves out a zero; without the text."""
        return {"iova": int(mapping.get("iova", 0)), "length": int(mapping["length"]),
                "offset": int(mapping.get("offset", 0)),
                "memory_region": mapping["memory_region"], "permission": mapping["permission"]}

    def test_the_stream_s_defaults_hold_where_a_batch_says_nothing(self):
        self.stream({"open": {"name": "ioas/space", "default_memory_region": ROM,
                              "default_permission": "PERMISSION_READ"}}, map_page(1, 0))
        (mapping,) = self.mappings()
        self.assertEqual((ROM, "PERMISSION_READ"),
                         (mapping["memory_region"], mapping["permission"]))

    def test_addresses_are_chosen_where_none_is_given(self):
        (answer,) = self.stream(OPEN, {"map": {"sequence": 1, "length": [PAGE, 2 * PAGE, PAGE]}})
        chosen = [int(iova) for iova in answer["iovas"]]
        self.assertEqual(chosen, [int(mapping["iova"]) for mapping in self.mappings()])

    def test_unmaps_count_what_is_gone(self):
        answers = self.stream(OPEN, *(map_page(i + 1, i) for i in range(4)),
                              unmap_page(5, 0),
                              {"unmap": {"sequence": 6, "iova": [PAGE], "length": [2 * PAGE]}},
                              {"unmap": {"sequence": 7, "all": True}},
                              {"unmap": {"sequence": 8, "all": True}})
        self.assertEqual([(1, PAGE), (2, 2 * PAGE), (1, PAGE), (0, 0)],
                         [(int(answer.get("unmapped_count", 0)),
                           int(answer.get("unmapped_bytes", 0))) for answer in answers[4:]])

    def test_malformed_batches_say_which_field(self):
        cases = [
            ("iova is no single value for all", {"iova": [0], "length": [PAGE, PAGE]},
             "ARRAY_LENGTH_MISMATCH", "map.iova"),
            ("two offsets for three", {"length": [PAGE] * 3, "offset": [0, PAGE]},
             "ARRAY_LENGTH_MISMATCH", "map.offset"),
            ("two permissions for three",
             {"length": [PAGE] * 3, "permission": ["PERMISSION_READ"] * 2},
             "ARRAY_LENGTH_MISMATCH", "map.permission"),
            ("a region that is not listed",
             {"length": [PAGE, PAGE], "memory_regions": [RAM], "memory_region_index": [0, 1]},
             "REGION_INDEX_OUT_OF_RANGE", "map.memory_region_index[1]"),
            ("no length", {"iova": [0]}, "MISSING_FIELD", "map.length"),
        ]
        for what, batch, reason, field in cases:
            with self.subTest(what):
                (answer,) = self.stream(OPEN, {"map": {"sequence": 1, **batch}})
                failure = grpcurl.Failure(answer["status"])
                self.assertEqual((reason, [field]), (failure.reason, failure.fields), failure.text)
                self.assertEqual([], self.mappings())

    def test_what_ends_a_stream_comes_after_the_answers_before_it(self):
        cases = [
            ("no open", [map_page(1, 0)], "INVALID_ARGUMENT", "OPEN_EXPECTED", 0),
            ("two opens", [OPEN, map_page(1, 0), OPEN], "INVALID_ARGUMENT", "UNEXPECTED_OPEN", 1),
            ("an empty message", [OPEN, map_page(1, 1), map_page(2, 2), {}], "INVALID_ARGUMENT",
             "MISSING_FIELD", 2),
            ("an unknown space", [{"open": {"name": "ioas/none"}}], "NOT_FOUND", "IOAS_NOT_FOUND",
             0),
            ("a malformed space", [{"open": {"name": "none"}}], "INVALID_ARGUMENT",
             "MALFORMED_NAME", 0),
        ]
        for what, messages, code, reason, answered in cases:
            with self.subTest(what):
                answer = self.client.call(STREAM, messages)
                self.assertEqual(code, answer.code, answer.text)
                self.assertEqual(reason, answer.failure.reason)
                self.assertEqual(answered, len(answer.messages))

    def test_a_stream_without_messages_ends_well(self):
        self.assertEqual([], self.stream())

    def test_two_streams_share_a_space(self):
        first, second = (self.client.open(STREAM) for _ in range(2))
        for stream in (first, second):
            stream.send(OPEN)
        first.send(map_page(1, 0))
        self.assertEqual((1, "OK"), outcome(first.receive()))
        second.send(map_page(1, 0))
        self.assertEqual((1, "IOVA_OCCUPIED"), outcome(second.receive()))
        self.assertEqual(["OK", "OK"], [stream.finish().code for stream in (first, second)])

    def test_batches_are_counted(self):
        def counted():
            scrape = metrics.Metrics(self.daemon)
            return [scrape.total(f"viommu_{verb}_batch_{what}", path="stream")
                    for verb in ("map", "unmap") for what in ("entries_sum", "entries_count",
                                                              "seconds_count")]

        before = counted()
        self.stream(OPEN, {"map": {"sequence": 1, "length": [PAGE] * 10}}, map_page(2, 100),
                    unmap_page(3, 100))
        self.assertEqual([11, 2, 2, 1, 1, 1], [after - b for b, after in zip(before, counted())])


if __name__ == "__main__":
    case_report.main()
