"""An exported image, walked from its registers by code of its own, says what the daemon says."""
import json
import os
import random
import subprocess
import time
import unittest

from tests.e2e import daemon
from tests.tables import image
from tests.tables import vtd_walker
from tools import case_report

_BINARY = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "clients",
                       "viommuctl", "viommuctl")
_STAGES = {"TABLE_STAGE_1": "first-stage", "TABLE_STAGE_2": "second-stage"}

NESTED = "0000:82:00.0"  # Requests without PASID are a guest's; PASIDs 7 and 9 are not.
PLAIN = "0000:01:00.0"
BLOCKED = "0000:81:00.0"

# The guest has its RAM from 0 and, above 4 GiB, a page that its tables name and nobody backs. Its
# table of level 4 is at 0x1000, entry 0 -> 0x2000 (level 3), whose entry 0 -> 0x3000 (level 2), whose
# entry 0 -> 0x4000 (level 1). Level 3: entry 1 is a page of 1 GiB at 0, entry 2 leads to a table
# that is nowhere. Level 2: entry 1 is a page of 2 MiB at 2 MiB. Level 1: entry 5 -> 0x8000, entry 6
# -> the page that nobody backs, entry 7 -> 0x8000 for reading alone, entry 8 for supervisors.
GUEST_TABLES = {
    0x1000: 0x2007, 0x2000: 0x3007, 0x2008: 0x87, 0x2010: 0x1_4000_0007, 0x3000: 0x4007,
    0x3008: 0x20_0087, 0x4028: 0x8007, 0x4030: 0x1_4000_0007, 0x4038: 0x8005, 0x4040: 0x8003,
}
GUEST_ADDRESSES = [0x5123, 0x6000, 0x7008, 0x8000, 0x9000, 0x20_0000, 0x3f_ffff, 0x40_0000,
                   0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x80_0000_0000, 1 << 47,
                   (1 << 64) - 1]

SETUP = [
    f"claim {NESTED}", f"claim {PLAIN}", f"claim {BLOCKED}", "create region ram --size 4G",
    "create ioas vm0", "create ioas vm1",
    f"create domain parent --ioas vm0 --device {NESTED} --nest-parent --pasid",
    f"create domain plain --ioas vm1 --device {PLAIN}",
    f"create domain queue --ioas vm1 --device {NESTED} --pasid",
    "map vm0 --region ram --size 1G --iova 0",
    "map vm1 --region ram --size 2G --iova 0x40000000 --offset 1G",
    "map vm1 --region ram --size 12K --iova 0x10000 --offset 0x5000",
    "map vm1 --region ram --size 4K --iova 0x20000 --offset 0x9000 --permission r",
    f"create domain guest --parent parent --device {NESTED} --stage1-table 0x1000 --pasid",
    f"attach {NESTED} guest", f"attach {PLAIN} plain",
    f"pasids reserve {NESTED} 7", f"attach {NESTED} queue --pasid 7",
    f"pasids reserve {NESTED} 900", f"attach {NESTED} parent --pasid 900",
    "unmap vm1 --iova 0x10000 --size 12K",
    "map vm1 --region ram --size 8K --iova 0x11000 --offset 0x5000",
]
PLAIN_ADDRESSES = [0x0, 0x10fff, 0x11000, 0x12fff, 0x13000, 0x20008, 0x3fff_ffff, 0x4000_0000,
                   0xbfff_ffff, 0xc000_0000, 0xfee0_0000, 1 << 40, (1 << 47) + 5, 1 << 50,
                   (1 << 64) - 8]


# Behind an SMMUv3. The guest has its RAM at 1 GiB; its CD is at 0x1000 there, for 39 bits of 4 KiB
# pages: the table of level 1 at 0x2000, entry 0 -> 0x3000 (level 2), whose entry 0 -> 0x4000
# (level 3). Level 3: entry 5 -> 0x8000, entry 6 -> where the guest has no RAM.
SMMU_DEVICE = "0001:01:00.0"
_CD = 25 | 1 << 30 | 1 << 31 | 5 << 32 | 1 << 41 | 3 << 45 | 7 << 48
_LEAF = 1 << 6 | 3 << 8 | 3 << 10 | 3
SMMU_TABLES = {0x1000: _CD, 0x1008: 0x4000_2000, 0x2000: 0x4000_3003, 0x3000: 0x4000_4003,
               0x4028: 0x4000_8000 | _LEAF, 0x4030: 0x8000_0000 | _LEAF}
SMMU_SETUP = [
    f"claim {SMMU_DEVICE}", "create region ram --size 4M", "create ioas vm0",
    f"create domain stage2 --ioas vm0 --device {SMMU_DEVICE} --nest-parent",
    "map vm0 --region ram --size 4M --iova 0x40000000",
    f"create viommu vm0 --device {SMMU_DEVICE} --parent stage2",
    f"create vdevice vm0 nic --device {SMMU_DEVICE} --virtual-id 8",
    f"create domain guest --device {SMMU_DEVICE} --viommu vm0 --ste-0 0x4000100b",
    f"attach {SMMU_DEVICE} guest",
]


class Ctl:
    def __init__(self, folder):
        self.folder = folder
        self._env = dict(os.environ, VIOMMU_TARGET="state/viommud.sock")

    def run(self, text, codes=(0,)):
        done = subprocess.run([_BINARY, *text.split()], cwd=self.folder, env=self._env, text=True,
                              capture_output=True, timeout=60, check=False)
        if done.returncode not in codes:
            raise AssertionError(f"viommuctl {text}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def export(self):
        self.run("tables export image")
        with open(os.path.join(self.folder, "image"), "rb") as file:
            return file.read()


def shown(entry):
    """An entry of an answer as a step of the walker."""
    kind = _STAGES.get(entry["stage"], entry["table"])
    guest = int(entry["guest_address"]) if "guest_address" in entry else None
    return (kind, entry.get("level", 0), int(entry["physical_address"]), guest)


class TableImageTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(daemon.Daemon())
        self.ctl = Ctl(self.daemon.folder)
        for text in SETUP:
            self.ctl.run(text)
        for address, word in GUEST_TABLES.items():
            data = word.to_bytes(8, "little").hex()
            self.ctl.run(f"memory write ram --offset {address:#x} --hex {data}")

    def compare(self, exported, device, pasid, address, write):
        unit, source_id, _ = exported.requesters[device]
        walk = vtd_walker.Walk(exported, unit, source_id, pasid, write)
        with_pasid = "" if pasid is None else f" --pasid {pasid}"
        access = "write" if write else "read"
        told = json.loads(self.ctl.run(
            f"explain {device} {address:#x} --access {access}{with_pasid} -o json", (0, 10)))
        where = f"{device}{with_pasid} {access} {address:#x}: {told}"
        try:
            reached = walk.translate(address)
        except vtd_walker.Fault as fault:
            self.assertIn("fault", told, where)
            stop = fault.step or (walk.steps[-1] if walk.steps else None)
            entry = told["fault"].get("entry")
            self.assertEqual(stop, shown(entry) if entry else None, where)
            if entry:
                self.assertEqual(exported.words(stop[2], len(entry["words"])),
                                 [int(word) for word in entry["words"]], where)
            return "fault"
        if reached == "message":
            self.assertIn("interrupt_message", told, where)
        elif "fault" in told:
            self.assertEqual("NO_MEMORY", told["fault"]["reason"], where)
        else:
            self.assertEqual(reached, int(told["translated"]["physical_address"]), where)
        return "reached"

    def compare_path(self, exported, device, pasid, address):
        """All entries that DumpTables shows are where the walk finds them, and hold the same."""
        unit, source_id, _ = exported.requesters[device]
        walks = []
        for write in (False, True):
            walk = vtd_walker.Walk(exported, unit, source_id, pasid, write)
            try:
                walk.translate(address)
            except vtd_walker.Fault:
                pass
            walks.append(walk.steps)
        with_pasid = "" if pasid is None else f" --pasid {pasid}"
        dump = json.loads(self.ctl.run(f"tables {device} {address:#x}{with_pasid} -o json"))
        entries = dump.get("entries", [])
        self.assertEqual(max(walks, key=len), [shown(entry) for entry in entries])
        for entry in entries:
            words = [int(word) for word in entry["words"]]
            self.assertEqual(exported.words(int(entry["physical_address"]), len(words)), words)

    def test_a_walk_of_the_image_ends_where_the_daemon_says(self):
        exported = image.Image(self.ctl.export())
        cases = [(NESTED, None, address) for address in GUEST_ADDRESSES]
        cases += [(NESTED, pasid, address) for pasid in (7, 8, 900, 5000)
                  for address in PLAIN_ADDRESSES[::2]]
        cases += [(PLAIN, None, address) for address in PLAIN_ADDRESSES]
        cases += [(BLOCKED, None, 0x4000_0000), (BLOCKED, None, 0xfee0_0000)]
        cases += [(device, None, 1 << 60) for device in exported.requesters]
        cases += [(device, None, 0x1234_5000) for device in exported.requesters]
        outcomes = []
        for device, pasid, address in cases:
            for write in (False, True):
                outcomes.append(self.compare(exported, device, pasid, address, write))
            self.compare_path(exported, device, pasid, address)
        self.assertGreater(outcomes.count("fault"), 40)
        self.assertGreater(outcomes.count("reached"), 30)

    def test_random_walks_end_where_the_daemon_says(self):
        exported = image.Image(self.ctl.export())
        seed = time.time_ns()
        print(f"seed {seed}")
        rng = random.Random(seed)
        for _ in range(150):
            device, pasid = rng.choice([(NESTED, None), (NESTED, 7), (NESTED, 900), (PLAIN, None)])
            address = rng.choice([
                rng.randrange(1 << rng.randrange(1, 64)), rng.randrange(0x10000, 0x22000),
                rng.randrange(0xa000), 0x4000_0000 + rng.randrange(3 << 30)])
            self.compare(exported, device, pasid, address, rng.random() < 0.5)

    def test_guests_tables_are_in_it_and_pages_are_not(self):
        exported = image.Image(self.ctl.export())
        self.assertFalse(exported.guest_tables_left_out)
        unit, source_id, pasid_bits = exported.requesters[NESTED]
        self.assertEqual(0x8200, source_id)
        self.assertGreater(pasid_bits, 0)
        walk = vtd_walker.Walk(exported, unit, source_id, None, False)
        data = walk.translate(0x5000)
        tables = {step[3]: step[2] for step in walk.steps if step[3] is not None}
        self.assertEqual([0x1000, 0x2000, 0x3000, 0x4028], sorted(tables))
        for guest, place in tables.items():
            self.assertEqual(GUEST_TABLES[guest], exported.word(place))
        self.assertNotIn(data & ~0xfff, exported.page_addresses)

    def test_the_queue_is_in_it(self):
        exported = image.Image(self.ctl.export())
        self.assertEqual(["dmar0", "dmar1"], [unit.name for unit in exported.units])
        for unit in exported.units:
            self.assertEqual("vtd", unit.architecture)
            registers = unit.registers
            self.assertEqual(0x90, unit.offsets["IQA"])
            self.assertTrue(registers["GSTS"] >> 31, "translation is on")
            self.assertTrue(registers["IQA"] & 1 << 11, "descriptors of 256 bits")
            ring, tail = registers["IQA"] & ~0xfff, registers["IQT"]
            self.assertEqual(registers["IQH"], tail, "nothing is under way")
            self.assertGreater(tail, 0)
            kinds = [exported.word(ring + at) & 0xf for at in range(0, tail, 32)]
            self.assertEqual(5, kinds[-1], "it was waited for")
            self.assertLessEqual(set(kinds), set(range(1, 9)))

    def test_the_queue_of_page_requests_is_in_it(self):
        self.ctl.run(f"raise-fault {BLOCKED} 0x123000 --group 77 --write")
        with_none, unit = image.Image(self.ctl.export()).units
        self.assertNotIn("PQA", with_none.registers)
        self.assertEqual({"PQH": 0xc0, "PQT": 0xc8, "PQA": 0xd0, "PRS": 0xdc},
                         {name: at for name, at in unit.offsets.items() if name.startswith("P")})
        registers = unit.registers
        self.assertEqual(registers["PQH"], registers["PQT"], "it was taken")
        ring = registers["PQA"] & ~0xfff
        exported = image.Image(self.ctl.export())
        for page in range(1 << (registers["PQA"] & 7)):
            self.assertIn(ring + page * 4096, exported.page_addresses)
        first, second = exported.words(ring + registers["PQT"] - 32, 2)
        self.assertEqual(0x8100, first >> 16 & 0xffff, "the device")
        self.assertEqual(0x123000 | 77 << 3 | 1 << 2 | 1 << 1, second & ~1, "page, group, last, write")

    def test_a_broken_file_is_noticed(self):
        data = self.ctl.export()
        image.Image(data)
        for at in (0, 9, len(data) // 2, len(data) - 1):
            broken = bytearray(data)
            broken[at] ^= 1
            with self.assertRaises(ValueError):
                image.Image(bytes(broken))
        with self.assertRaises(ValueError):
            image.Image(data[:-4096])

    def test_what_can_not_be_written_leaves_nothing(self):
        self.ctl.run("tables export missing/image", codes=(1,))
        os.mkdir(os.path.join(self.ctl.folder, "taken"))
        self.ctl.run("tables export taken", codes=(1,))
        self.assertNotIn("taken.partial", os.listdir(self.ctl.folder))


class SmmuTableImageTest(unittest.TestCase):
    def setUp(self):
        topology = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "deploy",
                                "topologies", "mixed.textproto")
        self.daemon = self.enterContext(daemon.Daemon("--topology", topology))
        self.ctl = Ctl(self.daemon.folder)
        for text in SMMU_SETUP:
            self.ctl.run(text)
        for address, word in SMMU_TABLES.items():
            data = word.to_bytes(8, "little").hex()
            self.ctl.run(f"memory write ram --offset {address:#x} --hex {data}")

    def explain(self, address):
        return json.loads(self.ctl.run(f"explain {SMMU_DEVICE} {address:#x} -o json", (0, 10)))

    def test_what_is_shown_of_a_guest_is_in_the_image(self):
        exported = image.Image(self.ctl.export())
        dump = json.loads(self.ctl.run(f"tables {SMMU_DEVICE} 0x5123 -o json"))
        second = [f"stage-2 level {level}" for level in (0, 1, 2)]  # Blocks of 2 MiB.
        want = ["ste", *second, "cd"]
        for level in (1, 2, 3):
            want += [*second, f"stage-1 level {level}"]
        shown_tables = [entry["table"] for entry in dump["entries"]]
        self.assertEqual([*want, *second], [name for name in shown_tables if name != "l1std"])
        guests = {}
        for entry in dump["entries"]:
            words = [int(word) for word in entry["words"]]
            self.assertEqual(exported.words(int(entry["physical_address"]), len(words)), words)
            if "guest_address" in entry:
                guests[int(entry["guest_address"]) - 0x4000_0000] = words[0]
        self.assertEqual({at: SMMU_TABLES[at] for at in (0x1000, 0x2000, 0x3000, 0x4028)}, guests)
        page = int(self.explain(0x5123)["translated"]["physical_address"])
        self.assertNotIn(page & ~0xfff, exported.page_addresses)

    def test_faults_say_where_and_why(self):
        cases = {
            0x6000: ("TABLE_STAGE_2", "F_TRANSLATION", ", the guest's page: "),
            0x7000: ("TABLE_STAGE_1", "F_TRANSLATION", "(guest 0x40004038) for 0x7000: not present"),
            1 << 40: ("TABLE_STAGE_CONFIGURATION", "F_TRANSLATION", "T0SZ=25"),
        }
        for address, (stage, reason, why) in cases.items():
            with self.subTest(address):
                fault = self.explain(address)["fault"]
                self.assertEqual((stage, reason), (fault["stage"], fault["reason"]))
                self.assertIn(why, fault["why"])
                self.assertTrue(fault["why"].startswith("StreamID 0x100: "), fault["why"])
        people = self.ctl.run(f"tables {SMMU_DEVICE} 0x7000")
        self.assertIn("a read faults in stage 1, level 3: 16 (F_TRANSLATION)", people)
        self.assertIn("GUEST", people)

    def test_the_queues_are_in_it(self):
        exported = image.Image(self.ctl.export())
        self.assertEqual(["vtd", "smmuv3"], [unit.architecture for unit in exported.units])
        unit = exported.units[1]
        registers = unit.registers
        self.assertEqual(0x80, unit.offsets["STRTAB_BASE"])
        self.assertTrue(registers["CR0"] & 1, "translation is on")
        ring, producer = registers["CMDQ_BASE"] & ((1 << 52) - 32), registers["CMDQ_PROD"]
        self.assertEqual(registers["CMDQ_CONS"], producer, "nothing is under way")
        self.assertGreater(producer, 0)
        last = exported.word(ring + 16 * (producer - 1)) & 0xff
        self.assertEqual(0x46, last, "it was waited for")
        exported.word(registers["EVENTQ_BASE"] & ((1 << 52) - 32))


if __name__ == "__main__":
    case_report.main()
