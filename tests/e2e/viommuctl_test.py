"""The real viommuctl against the real viommud: every command, every exit code, the usual mistakes."""
import concurrent.futures
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import unittest

from tests.e2e import daemon
from tests.e2e import grpcurl
from tests.e2e import state
from tools import case_report

_ROOT = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
_BINARY = os.path.join(_ROOT, "clients", "viommuctl", "viommuctl")
_SECONDS = 60
DEVICE = "0000:01:00.0"

OK, FAILURE, USAGE, NOT_FOUND, REFUSED, PERMISSION, EXHAUSTED, UNAVAILABLE, EXISTS, UNIMPLEMENTED, \
    FAULT = range(11)

# What has to be there before a command of SESSION works, is made by those before it.
# (command, part of what it prints)
SESSION = [
    ("get host", "backend:               soft"),
    ("version", "viommud 0.1.0 at state/viommud.sock"),
    ("health", "(all)                        serving"),
    ("list devices", "DEVICE "),
    ("list iommus", "dmar0"),
    ("list queues", "dmar1"),
    ("queues", "dmar1"),
    ("get device 0000:01:00.0", "host"),
    ("get iommu dmar0", "dma"),
    ("get queue dmar0", "dmar0"),
    ("describe host", "IOMMUs:"),
    ("describe iommu dmar0", "devices behind it:"),
    ("describe queue dmar0", "submitted:"),
    ("set-default-domain 0000:01:00.0 dma", "devices/0000:01:00.0 set to the default domain dma"),
    ("create region ram --size 4G", "memoryRegions/ram created"),
    ("host-map 0000:01:00.0 --region ram --size 4K", "memoryRegions/ram mapped for devices/0000:01"),
    ("host-unmap 0000:01:00.0 --iova {host_iova} --size 4K", "unmapped for devices/0000:01:00.0"),
    ("claim 0000:01:00.0", "devices/0000:01:00.0 claimed"),
    ("create ioas vm0", "ioas/vm0 created"),
    ("create ioas vm1", "ioas/vm1 created"),
    ("create domain vm0 --ioas vm0 --device 0000:01:00.0", "domains/vm0 created"),
    ("create domain vm1 --ioas ioas/vm1 --device devices/0000:01:00.0", "domains/vm1 created"),
    ("attach 0000:01:00.0 vm0", "devices/0000:01:00.0 attached to domains/vm0 (hitless)"),
    ("allow-ranges vm0 0+3G 0x100000000-0x1ffffffff", "[0x0, 0xbfffffff], [0x100000000, 0x1ff"),
    ("allow-ranges vm0 --none", "ioas/vm0 bound to no range"),
    ("map vm0 --region ram --size 1G --iova 0x40000000",
     "ioas/vm0 mapped 1G at [0x40000000, 0x7fffffff]"),
    ("copy vm1 --from vm0 --source-iova 0x40000000 --size 1G --iova 0 --permission r",
     "ioas/vm1 mapped 1G at [0x0, 0x3fffffff] as ioas/vm0 has it at 0x40000000"),
    ("mappings vm0", "[0x40000000, 0x7fffffff]  1G    ram     0x0     rw"),
    ("mappings vm1 --first 0 --last 0xfff", "r"),
    ("translate vm0 0x40001234", "0x1234"),
    ("iova-ranges vm0", "FIRST"),
    ("dma write 0000:01:00.0 0x40000000 --text hello", "devices/0000:01:00.0 wrote 5 bytes at 0x40000000"),
    ("dma read 0000:01:00.0 1073741824 --size 5", "68 65 6c 6c 6f"),
    ("memory read ram --size 5", "|hello|"),
    ("memory write ram --hex 00ff --offset 4K", "memoryRegions/ram written (2 bytes at 0x1000)"),
    ("tables 0000:01:00.0 0x40000000", "second-stage level"),
    ("tables 0000:01:00.0 0x40000000", "a write goes to 0x"),
    ("tables export image", "image written ("),
    ("explain 0000:01:00.0 0x40000123", "a read of 0x40000123 goes to 0x"),
    ("explain 0000:01:00.0 0xfee00000 --access write", "is an interrupt message"),
    ("replace 0000:01:00.0 vm1", "devices/0000:01:00.0 moved to domains/vm1 (hitless)"),
    ("list attachments", "vm1"),
    ("list attachments 0000:01:00.0", "vm1"),
    ("list regions", "4G"),
    ("watch ioas devices --once", "there     ioas/vm0  "),
    ("watch --once", "synced    revision "),
    ("list ioas", "vm1"),
    ("list domains", "paging"),
    ("get region ram", "4G"),
    ("get ioas vm0", "1G"),
    ("get domain vm0", "vtd-second-stage"),
    ("describe region ram", "vm1   [0x0, 0x3fffffff]"),
    ("describe ioas vm0", "domains over it:"),
    ("describe domain vm1", "attached devices:\n  DEVICE"),
    ("describe device 0000:01:00.0", "reserved regions:\n  RANGE"),
    ("reserved-regions 0000:01:00.0", "msi"),
    ("hardware-info 0000:01:00.0", "vtd"),
    ("detach 0000:01:00.0", "devices/0000:01:00.0 detached (hitless)"),
    ("attach 0000:01:00.0 --ioas vm0", "devices/0000:01:00.0 attached to domains/"),
    ("replace 0000:01:00.0 --ioas vm1", "devices/0000:01:00.0 moved to domains/"),
    ("detach 0000:01:00.0", "devices/0000:01:00.0 detached (hitless)"),
    ("claim 0000:81:00.0", "devices/0000:81:00.0 claimed"),
    ("pasids allocate 0000:81:00.0 --label queue0", "PASID 1 of devices/0000:81:00.0 allocated"),
    ("pasids reserve 0000:81:00.0 7", "PASID 7 of devices/0000:81:00.0 reserved"),
    ("attach 0000:81:00.0 blocked --pasid 7",
     "devices/0000:81:00.0 pasid 7 attached to domains/blocked"),
    ("list attachments 0000:81:00.0", "0000:81:00.0  7      blocked"),
    ("pasids list 0000:81:00.0", "0000:81:00.0  1      allocated  -        local  queue0"),
    ("replace 0000:81:00.0 blocked --pasid 7", "devices/0000:81:00.0 pasid 7 moved"),
    ("detach 0000:81:00.0 --pasid 7", "devices/0000:81:00.0 pasid 7 detached"),
    ("pasids free 0000:81:00.0 7", "PASID 7 of devices/0000:81:00.0 freed"),
    ("reset 0000:81:00.0", "devices/0000:81:00.0 reset"),
    ("create listener vm0 --mode 0600", "listeners/vm0 created"),
    ("list listeners", "vm0       0600"),
    ("get listener vm0", "/listeners/vm0/viommu.sock"),
    ("delete listener vm0", "listeners/vm0 deleted"),
    ("create fault-queue q --depth 4", "faultQueues/q created"),
    ("create domain asking --ioas vm0 --device 0000:81:00.0 --fault-queue q",
     "domains/asking created"),
    ("list fault-queues", "q            4      0        0     no        asking"),
    ("get fault-queue q", "asking"),
    ("attach 0000:81:00.0 asking", "devices/0000:81:00.0 attached to domains/asking"),
    ("raise-fault 0000:81:00.0 0x7000000 --write --group 3",
     "page 0x7000000 of devices/0000:81:00.0 asked for"),
    ("faults list q", "0x7000000 w"),
    ("faults watch q --count 1",
     "fault 1  0000:81:00.0  group 3  domain asking  0x7000000 w"),
    ("faults respond q success 1", "1 group of faultQueues/q answered"),
    ("page-responses 0000:81:00.0", "success"),
    ("detach 0000:81:00.0", "devices/0000:81:00.0 detached"),
    ("delete domain asking", "domains/asking deleted"),
    ("delete fault-queue q", "faultQueues/q deleted"),
    ("create domain parent --ioas vm0 --device 0000:81:00.0 --nest-parent --dirty-tracking",
     "domains/parent created"),
    ("attach 0000:81:00.0 parent", "devices/0000:81:00.0 attached to domains/parent"),
    ("domains set-dirty-tracking parent on", "domains/parent changed (dirty tracking on)"),
    ("describe domain parent", "dirty tracking:       on"),
    ("domains dirty parent 0x40000000 --size 1G", "RANGE  SIZE  PAGES"),
    ("dma write 0000:81:00.0 0x40000000 --text hello", "wrote 5 bytes"),
    ("domains dirty parent 0x40000000 --size 1G --page-size 2M --keep",
     "[0x40000000, 0x"),
    ("domains dirty parent 0x40000000 --size 1G", "[0x40000000, 0x"),
    ("detach 0000:81:00.0", "devices/0000:81:00.0 detached"),
    ("create domain guest --parent parent --device 0000:81:00.0 --stage1-table 0x1000",
     "domains/guest created"),
    ("list domains", "nested"),
    ("invalidate guest --address 0x1000 --size 4K", "domains/guest"),
    ("delete domain guest", "domains/guest deleted"),
    ("delete domain parent", "domains/parent deleted"),
    ("release 0000:81:00.0", "devices/0000:81:00.0 released"),
    ("unmap vm0 --iova 0x40000000 --size 1G", "ioas/vm0 unmapped 1G in 1 mapping"),
    ("unmap vm1 --all", "ioas/vm1 unmapped 1G in 1 mapping"),
    ("delete domain vm0", "domains/vm0 deleted"),
    ("delete domain domains/vm1", "domains/vm1 deleted"),
    ("set-large-pages vm1 off", "ioas/vm1 changed (large pages off)"),
    ("load-regions vm1 0000:01:00.0", "devices/0000:01:00.0 loaded into ioas/vm1"),
    ("describe ioas vm1", "loaded regions:    0000:01:00.0"),
    ("unload-regions vm1 0000:01:00.0", "devices/0000:01:00.0 unloaded from ioas/vm1"),
    ("create ioas old --mode vfio-type1 --large-pages off", "ioas/old created"),
    ("create region rom --size 4K --read-only", "memoryRegions/rom created"),
    ("map old --region rom --size 4K --iova 0 --permission r", "ioas/old mapped 4K"),
    ("resize-region rom --size 4K", "memoryRegions/rom resized to 4K"),
    ("revoke-region rom", "memoryRegions/rom revoked"),
    ("describe region rom", "suspended"),
    ("mappings old", "r, suspended"),
    ("delete ioas old", "ioas/old deleted"),
    ("delete region rom", "memoryRegions/rom deleted"),
    ("delete ioas vm0", "ioas/vm0 deleted"),
    ("delete ioas vm1", "ioas/vm1 deleted"),
    ("delete region ram", "memoryRegions/ram deleted"),
    ("release 0000:01:00.0", "devices/0000:01:00.0 released"),
    ("set-device-health 0000:01:00.0 unhealthy --reason broken", "made unhealthy"),
    ("set-device-health 0000:01:00.0 healthy", "made healthy"),
    ("unplug 0000:01:00.0", "devices/0000:01:00.0 unplugged"),
    ("plug 0000:01:00.0", "devices/0000:01:00.0 plugged in"),
    ("help", "usage: viommuctl COMMAND"),
    ("help map", "usage: viommuctl map IOAS --region REGION --size SIZE"),
    ("reference", "# viommuctl"),
    ("completion bash", "complete -F _viommuctl viommuctl"),
]

# (command, exit code, part of what it says): each meets what setUp makes.
# The same behind an SMMUv3, where guests have Viommus.
GUEST_SESSION = [
    ("claim 0001:01:00.0", "claimed"),
    ("create region ram --size 4M", "created"),
    ("create ioas vm0", "created"),
    ("create domain stage2 --ioas vm0 --device 0001:01:00.0 --nest-parent", "created"),
    ("map vm0 --region ram --size 4M --iova 0x40000000", "mapped 4M"),
    ("create viommu vm0 --device 0001:01:00.0 --parent stage2", "viommus/vm0 created"),
    ("list viommus", "vm0     arm-smmu-v3  smmu0  stage2"),
    ("get viommu vm0", "smmu0"),
    ("create vdevice vm0 nic --device 0001:01:00.0 --virtual-id 8", "viommus/vm0/vdevices/nic created"),
    ("list vdevices vm0", "vm0/nic  0001:01:00.0  8"),
    ("get vdevice vm0/nic", "0001:01:00.0  8"),
    ("create domain bypass --device 0001:01:00.0 --viommu vm0 --ste-0 0x9", "created"),
    ("attach 0001:01:00.0 bypass", "(hitless)"),
    ("dma write 0001:01:00.0 0x40000000 --hex 01", "wrote 1 bytes"),
    ("tables 0001:01:00.0 0x40000000", "V=1 Config=6"),
    ("tables 0001:01:00.0 0x40000000", "a write goes to 0x"),
    ("tables 0001:01:00.0 0x50000000", "(F_TRANSLATION), the second stage has no entry"),
    ("explain 0001:01:00.0 0x40000000 --access write", "a write to 0x40000000 goes to 0x"),
    ("tables export tables.img", "tables.img written ("),
    ("create event-queue vm0 faults --depth 16", "viommus/vm0/eventQueues/faults created"),
    ("list event-queues vm0", "vm0/faults   arm-smmu-v3  16"),
    ("raise-event 0001:01:00.0 0x10 --address 0x1000 --read", "reported sequence 0"),
    ("get event-queue vm0/faults", "16     1       1         0     1"),
    ("events vm0/faults", "0         0x10   8       -      read    0x1000"),
    ("give-command vm0 tlbi-all", "invalidated tlbi-all"),
    ("list hardware-queues vm0", "none"),
    ("detach 0001:01:00.0", "detached"),
    ("delete domain bypass", "deleted"),
    ("delete event-queue vm0/faults", "deleted"),
    ("delete vdevice vm0/nic", "deleted"),
    ("delete viommu vm0", "deleted"),
]

# No unit here reads queues of guests: the commands for them are understood, and refused.
HARDWARE_QUEUES = [
    ("create hardware-queue vm0 cmdq0 --base 0x40000000 --size 64K", UNIMPLEMENTED,
     "HARDWARE_QUEUES_UNAVAILABLE"),
    ("get hardware-queue vm0/cmdq0", NOT_FOUND, "vm0/hardwareQueues/cmdq0"),
    ("delete hardware-queue vm0/cmdq0", NOT_FOUND, "vm0/hardwareQueues/cmdq0"),
]

MISTAKES = [
    ("mpa vm0", USAGE, "did you mean viommuctl map?"),
    ("ioas list", USAGE, "the verb comes first: viommuctl list ioas"),
    ("get", USAGE, "get needs one of: region, ioas"),
    ("get ioas", USAGE, "IOAS is missing\nusage: viommuctl get ioas IOAS"),
    ("map vm0 --region ram", USAGE, "--size SIZE is missing\nusage: viommuctl map IOAS"),
    ("map vm0 --region ram --size 1Q", USAGE, '"1Q" is not a size'),
    ("map vm0 --region ram --size 99999999T", USAGE, '"99999999T" does not fit in 64 bits'),
    ("map vm0 --region ram --size 4K --iova 0xfee00000", USAGE, "hint: viommuctl iova-ranges vm0"),
    ("map vm0 --region ram --size 8G", USAGE, "SOURCE_OUT_OF_BOUNDS"),
    ("unmap vm0", USAGE, "say what: --iova and --size, or --all"),
    ("unmap vm0 --all --size 4K", USAGE, "--all stands alone"),
    ("allow-ranges vm0", USAGE, "one RANGE or several, or --none"),
    ("dma write 0000:01:00.0 0", USAGE, "either --text or --hex"),
    ("describe ioas vm0 -o json", USAGE, "is for people"),
    ("help mpa", USAGE, "did you mean viommuctl map?"),
    ("get ioas none", NOT_FOUND, "(IOAS_NOT_FOUND)"),
    ("get ioas none", NOT_FOUND, "hint: viommuctl list ioas shows what there is"),
    ("translate vm0 0", NOT_FOUND, "hint: viommuctl mappings vm0"),
    ("attach 0000:02:00.0 vm0", REFUSED, "hint: viommuctl claim 0000:02:00.0"),
    ("release 0000:01:00.0", REFUSED, "hint: viommuctl detach 0000:01:00.0"),
    ("delete ioas vm0", REFUSED, "hint: viommuctl delete domain vm0"),
    ("create ioas old --mode vfio-type1 --large-pages on", USAGE, "--mode vfio-type1v2 has them"),
    ("create ioas old --mode nesting", USAGE, "native|vfio-type1|vfio-type1v2"),
    ("delete domain vm0", REFUSED, "hint: viommuctl detach 0000:01:00.0"),
    ("delete region ram", REFUSED, "hint: viommuctl mappings vm0 shows where; then viommuctl unmap vm0 "
                                   "--iova ADDRESS --size SIZE"),
    ("detach 0000:02:00.0", REFUSED, "hint: viommuctl get device 0000:02:00.0 shows who has it"),
    ("copy vm0 --source-iova 0x1000 --size 4K", NOT_FOUND, "hint: viommuctl mappings vm0"),
    ("host-map 0000:82:00.0 --region ram --size 1", USAGE, "hint: write multiples of 4K"),
    ("top --once --target localhost:1", USAGE, "say where the metrics are: --metrics IPV4:PORT"),
    ("attach 0000:01:00.0 vm0", REFUSED, "hint: viommuctl replace 0000:01:00.0 DOMAIN"),
    ("attach 0000:01:00.0", USAGE, "say to what: either DOMAIN or --ioas"),
    ("attach 0000:01:00.0 vm0 --ioas vm0", USAGE, "say to what: either DOMAIN or --ioas"),
    ("pasids list", USAGE, "DEVICE is missing"),
    ("pasids reserve 0000:01:00.0 0", USAGE, "0"),
    ("delete ioas vm0 --etag wrong", REFUSED, "get ioas vm0 -o json"),
    ("replace 0000:01:00.0 identity", PERMISSION, "IDENTITY_NOT_ALLOWED"),
    ("create ioas vm0", EXISTS, "hint: choose another id, or: viommuctl delete ioas vm0"),
    ("map vm0 --region ram --size 4K --iova 0x40000000", EXISTS, "hint: viommuctl mappings vm0"),
    ("tables export", USAGE, "FILE is missing\nusage: viommuctl tables export FILE"),
    ("tables export missing/image", FAILURE, "missing/image.partial can not be written"),
    ("explain 0000:01:00.0 0 --access both", USAGE, "read|write"),
    ("dma read 0000:01:00.0 0 --size 4", FAULT, "hint: viommuctl tables 0000:01:00.0 0x0"),
]

PREPARATION = [
    "claim 0000:01:00.0", "create region ram --size 4G", "create ioas vm0",
    "create domain vm0 --ioas vm0 --device 0000:01:00.0", "attach 0000:01:00.0 vm0",
    "map vm0 --region ram --size 2M --iova 0x40000000",
]

# Each would change something of what PREPARATION makes.
DRY_RUNS = [
    "create region more --size 4K", "create ioas more",
    "create domain more --ioas vm0 --device 0000:01:00.0", "claim 0000:02:00.0",
    "replace 0000:01:00.0 blocked", "detach 0000:01:00.0",
    "map vm0 --region ram --size 4K", "copy vm0 --source-iova 0x40000000 --size 2M",
    "unmap vm0 --all", "allow-ranges vm0 0+1G",
    "host-map 0000:82:00.0 --region ram --size 4K", "set-device-health 0000:03:00.0 unhealthy",
    "unplug 0000:01:00.0",
]


class Viommuctl:
    """Runs the tool beside a daemon."""

    def __init__(self, folder):
        self.folder = folder
        self.env = dict(os.environ, VIOMMU_TARGET="state/viommud.sock",
                        PATH=os.path.dirname(_BINARY) + ":" + os.environ["PATH"])

    def run(self, *words):
        return subprocess.run([_BINARY, *words], cwd=self.folder, env=self.env, text=True,
                              capture_output=True, timeout=_SECONDS, check=False)

    def line(self, text):
        """A line without quotes."""
        return self.run(*text.split())

    def get(self, text):
        """What a command that has to go well prints."""
        done = self.line(text)
        if done.returncode != OK:
            raise AssertionError(f"viommuctl {text} ended with {done.returncode}\n{done.stderr}")
        return done.stdout


class SessionTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(daemon.Daemon(daemon.LISTENERS))
        self.ctl = Viommuctl(self.daemon.folder)

    def test_every_command_does_what_it_says(self):
        host_iova = ""
        for text, want in SESSION:
            with self.subTest(text):
                printed = self.ctl.get(text.format(host_iova=host_iova))
                self.assertIn(want, printed)
                if text.startswith("host-map"):
                    host_iova = printed.partition("[")[2].partition(",")[0]

    def test_no_command_is_left_out(self):
        """Those of the help are in the session; `top` has a test of its own."""
        overview = self.ctl.get("help").split("\n\n")[1]
        names = [line[2:].split("  ")[0] for line in overview.splitlines()]
        self.assertGreater(len(names), 50)
        run = [text + " " for text, *_ in SESSION + GUEST_SESSION + HARDWARE_QUEUES]
        missing = [name for name in names if not any(text.startswith(name + " ") for text in run)]
        self.assertEqual(["top"], missing)


class GuestSessionTest(unittest.TestCase):
    def setUp(self):
        topology = os.path.join(_ROOT, "deploy", "topologies", "mixed.textproto")
        self.daemon = self.enterContext(daemon.Daemon("--topology", topology))
        self.ctl = Viommuctl(self.daemon.folder)

    def test_every_command_does_what_it_says(self):
        for text, want in GUEST_SESSION:
            with self.subTest(text):
                done = self.ctl.line(text)
                self.assertEqual(OK, done.returncode, done.stderr)
                self.assertIn(want, done.stdout + done.stderr)

    def test_a_fault_is_explained(self):
        for text, _ in GUEST_SESSION[:4] + [("attach 0001:01:00.0 stage2", "")]:
            self.ctl.get(text)
        done = self.ctl.line("explain 0001:01:00.0 0x50000000")
        self.assertEqual(FAULT, done.returncode, done.stderr)
        self.assertRegex(done.stdout, "faults in stage 2, level [0-2]: 16 \\(F_TRANSLATION\\), .*\n"
                         "  StreamID 0x100: stage-2 level [0-2] entry at 0x[0-9a-f]+ for 0x50000000: "
                         "not present \\(0x0\\)")

    def test_what_no_unit_has_is_refused(self):
        for text, _ in GUEST_SESSION[:6]:
            self.ctl.get(text)
        for text, code, want in HARDWARE_QUEUES:
            with self.subTest(text):
                done = self.ctl.line(text)
                self.assertIn(want, done.stderr)
                self.assertEqual(code, done.returncode)


class MistakesTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(daemon.Daemon(metrics=True))
        self.ctl = Viommuctl(self.daemon.folder)
        for text in PREPARATION:
            self.ctl.get(text)

    def test_each_is_told_with_its_exit_code_and_what_to_do(self):
        for text, code, want in MISTAKES:
            with self.subTest(text, want=want):
                done = self.ctl.line(text)
                self.assertIn(want, done.stderr)
                self.assertEqual(code, done.returncode)

    def test_a_full_machine_is_told(self):
        for _ in range(16):
            done = self.ctl.line("create region --size 16T")
            if done.returncode != OK:
                break
        self.assertEqual(EXHAUSTED, done.returncode)
        self.assertIn("hint: viommuctl list regions", done.stderr)

    def test_a_fault_is_explained(self):
        done = self.ctl.line("explain 0000:01:00.0 0x1000 --access write")
        self.assertEqual(FAULT, done.returncode)
        self.assertIn("a write to 0x1000 faults in stage 2, level 3: 121 (SSS.2)", done.stdout)
        self.assertIn("second-stage level 3 entry at 0x", done.stdout)
        told = json.loads(self.ctl.line("explain 0000:01:00.0 0x1000 -o json").stdout)["fault"]
        self.assertEqual(("TABLE_STAGE_2", "0"), (told["stage"], told["entry"]["words"][0]))

    def test_dry_runs_change_nothing(self):
        client = grpcurl.Client(self.daemon)
        before = state.snapshot(self.daemon, client)
        for text in DRY_RUNS:
            with self.subTest(text):
                self.assertIn(" would be ", self.ctl.get(text + " --dry-run"))
                self.assertEqual(before, state.snapshot(self.daemon, client))
        for text in DRY_RUNS:
            with self.subTest("for real: " + text):
                self.assertNotIn("would", self.ctl.get(text))
                self.assertNotEqual(before, state.snapshot(self.daemon, client))

    def test_a_request_id_makes_a_repetition_safe(self):
        text = "map vm0 --region ram --size 4K --request-id once"
        self.assertEqual(self.ctl.get(text), self.ctl.get(text))
        self.assertEqual("2", self.ctl.get("get ioas vm0 -q").split()[1])

    def test_the_right_etag_is_accepted(self):
        region = json.loads(self.ctl.get("create region more --size 4K -o json"))
        self.ctl.get(f"delete region more --etag {region['etag']}")

    def test_programs_get_the_messages(self):
        for text in ("list devices", "list ioas", "mappings vm0", "get domain vm0", "get host",
                     "health", "iova-ranges vm0", "map vm0 --region ram --size 4K",
                     "dma read 0000:01:00.0 0x40000000 --size 4", "hardware-info 0000:01:00.0"):
            with self.subTest(text):
                self.assertIsInstance(json.loads(self.ctl.get(text + " -o json")), dict)
        self.assertIn('name: "ioas/vm0"', self.ctl.get("get ioas vm0 -o textproto"))

    def test_quiet_leaves_headings_and_reports_out(self):
        self.assertEqual("vm0", self.ctl.get("list ioas --quiet").split()[0])
        self.assertEqual("ioas/vm1\n", self.ctl.get("create ioas vm1 -q"), "for scripts")
        self.assertEqual("", self.ctl.get("create ioas vm2 -q --dry-run"))
        self.assertEqual("", self.ctl.get("delete ioas vm1 -q"))

    def test_verbose_tells_what_is_called(self):
        done = self.ctl.line("get ioas vm0 --verbose")
        self.assertIn("connected to state/viommud.sock", done.stderr)
        self.assertIn('GetIoasRequest {name: "ioas/vm0"} OK', done.stderr)

    def test_output_that_can_not_be_written_is_a_failure(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([_BINARY, "list", "devices"], cwd=self.ctl.folder,
                                  env=self.ctl.env, stdout=full, check=False, timeout=_SECONDS)
        self.assertEqual(FAILURE, done.returncode)

    def test_top_shows_what_moves(self):
        page = self.ctl.get("top --once --interval 100ms")
        self.assertIn("domain 1", page)
        self.assertIn("claimed 1  attached 1", page)
        self.assertIn("dmar0", page)
        self.assertNotIn("\x1b", page)

    def test_top_counts_the_calls_of_its_interval(self):
        top = subprocess.Popen([_BINARY, "top", "--once", "--interval", "3s"], cwd=self.ctl.folder,
                               env=self.ctl.env, text=True, stdout=subprocess.PIPE)
        self.addCleanup(top.kill)
        deadline = time.monotonic() + _SECONDS
        while top.poll() is None:
            self.ctl.get("translate vm0 0x40000000")
            self.assertLess(time.monotonic(), deadline, "it does not end")
        page = top.communicate(timeout=_SECONDS)[0]
        self.assertEqual(OK, top.returncode)
        self.assertRegex(page, r"\n  Translate +[0-9.]*[1-9]")


class MetricsAddressTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(daemon.Daemon(metrics=True))
        self.ctl = Viommuctl(self.daemon.folder)
        self.endpoints = os.path.join(self.daemon.folder, "state", "endpoints.json")

    def test_a_folder_without_endpoints_is_not_guessed_about(self):
        os.remove(self.endpoints)
        done = self.ctl.line("top --once --interval 1ms")
        self.assertEqual(UNAVAILABLE, done.returncode)
        self.assertEqual("", done.stdout)
        self.assertIn("there is no state/endpoints.json; say where the metrics are: --metrics "
                      "IPV4:PORT", done.stderr)

    def test_what_a_dead_daemon_left_behind_is_not_believed(self):
        """Another daemon has its address now."""
        folder = daemon.new_folder()
        os.mkdir(os.path.join(folder, "state"))
        shutil.copy(self.endpoints, os.path.join(folder, "state"))
        done = Viommuctl(folder).line("top --once --interval 1ms")
        self.assertEqual(UNAVAILABLE, done.returncode)
        self.assertEqual("", done.stdout)
        self.assertIn("no server answers at state/viommud.sock", done.stderr)

    def test_an_address_is_enough(self):
        with open(self.endpoints, encoding="utf-8") as file:
            address = json.load(file)["metrics_address"]
        ctl = Viommuctl(daemon.new_folder())
        self.assertIn("domain", ctl.get(f"top --once --interval 1ms --metrics {address}"))

    def test_the_timeout_holds(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            done = self.ctl.line(f"top --once --timeout 300ms --metrics {address}")
        self.assertEqual(UNAVAILABLE, done.returncode)
        self.assertIn(f"{address}: no answer within 300ms\nhint: --timeout gives it longer",
                      done.stderr)


class ListingTest(unittest.TestCase):
    def setUp(self):
        self.ctl = Viommuctl(self.enterContext(daemon.Daemon()).folder)

    def test_all_pages_are_shown_or_as_many_as_the_limit_says(self):
        self.ctl.get("create region ram --size 1G")
        self.ctl.get("create ioas vm0")
        entries = [{"iova": i << 12, "memory_region": "memoryRegions/ram", "length": 4096}
                   for i in range(2500)]
        subprocess.run([grpcurl.binary(), "-plaintext", "-unix", "-d", "@", "state/viommud.sock",
                        "viommu.v1.IoasService/Map"], cwd=self.ctl.folder, text=True, check=True,
                       capture_output=True,
                       input=json.dumps({"name": "ioas/vm0", "mappings": entries}))
        self.assertEqual(2500, len(self.ctl.get("mappings vm0 -q").splitlines()))
        listing = json.loads(self.ctl.get("mappings vm0 -o json"))
        self.assertEqual([str(i << 12) for i in range(1, 2500)],
                         [mapping["iova"] for mapping in listing["mappings"][1:]])
        self.assertNotIn("next_page_token", listing)
        cut = self.ctl.line("mappings vm0 --limit 1001")
        self.assertEqual(1002, len(cut.stdout.splitlines()))
        self.assertIn("there are more", cut.stderr)
        region = self.ctl.line("describe region ram --verbose")
        self.assertTrue(region.stdout.endswith("\n  and 2480 more\n"), region.stdout)
        self.assertEqual(1, region.stderr.count("ListMappingsRequest"), "no more than is shown")
        most = self.ctl.line("describe region ram --verbose --limit 1001")
        self.assertTrue(most.stdout.endswith("\n  and 1499 more\n"))
        self.assertEqual(2, most.stderr.count("ListMappingsRequest"))

    def test_places_that_can_not_be_listed_are_told(self):
        self.ctl.get("create region ram --size 1G")
        self.ctl.get("create ioas vm0")
        self.ctl.get("map vm0 --region ram --size 4K")
        self.ctl.get("host-map 0000:82:00.0 --region ram --size 4K")
        self.assertTrue(self.ctl.get("describe region ram").endswith(
            "\n  and 1 that are not listed: host mappings, or of other owners\n"))


class SlowTest(unittest.TestCase):
    """A daemon that a busy machine does not let answer for a while: it is told apart from none."""

    def setUp(self):
        self.daemon = self.enterContext(daemon.Daemon())
        self.ctl = Viommuctl(self.daemon.folder)

    def answered_late(self, *words):
        """How a command ends that has been waiting for a good while when it gets its answer."""
        self.daemon.signal(signal.SIGSTOP)
        self.addCleanup(self.daemon.signal, signal.SIGCONT)
        with concurrent.futures.ThreadPoolExecutor(1) as background:
            ended = background.submit(self.ctl.run, *words)
            time.sleep(2)
            self.daemon.signal(signal.SIGCONT)
            return ended.result()

    def test_it_is_waited_for(self):
        done = self.answered_late("get", "host")
        self.assertEqual(OK, done.returncode, done.stderr)
        self.assertIn("soft", done.stdout)

    def test_its_version_is_waited_for(self):
        self.assertIn("\nviommud ", self.answered_late("version").stdout)

    def test_not_for_longer_than_the_timeout(self):
        done = self.answered_late("get", "host", "--timeout", "300ms")
        self.assertEqual(UNAVAILABLE, done.returncode)
        self.assertIn("no server answers at state/viommud.sock within 300ms", done.stderr)


class NobodyTest(unittest.TestCase):
    def test_nobody_listening_is_told_soon(self):
        ctl = Viommuctl(daemon.new_folder())
        done = ctl.line("list devices")
        self.assertEqual(UNAVAILABLE, done.returncode)
        self.assertIn("state/viommud.sock", done.stderr)
        self.assertIn("hint: is viommud running?", done.stderr)

    def test_a_target_that_is_none_is_refused(self):
        done = Viommuctl(daemon.new_folder()).line("list devices --target nowhere")
        self.assertEqual(USAGE, done.returncode)
        self.assertIn('target "nowhere"', done.stderr)


class VersionTest(unittest.TestCase):
    def test_both_parts_have_the_same(self):
        ctl = Viommuctl(self.enterContext(daemon.Daemon()).folder)
        server = daemon.run("--version").stdout.split()[1]
        want = f"viommuctl {server}\nviommud {server} at state/viommud.sock\n"
        self.assertEqual(want, ctl.get("version"))
        self.assertEqual(want, ctl.get("--version"))

    def test_it_is_told_without_a_viommud(self):
        done = Viommuctl(daemon.new_folder()).line("--version")
        self.assertEqual(OK, done.returncode)
        self.assertRegex(done.stdout, r"^viommuctl [0-9.]+\n$")
        self.assertIn("viommud: no server answers at state/viommud.sock", done.stderr)


class HelpTest(unittest.TestCase):
    def setUp(self):
        self.ctl = Viommuctl(daemon.new_folder())

    def test_half_a_command_lists_those_that_begin_so(self):
        listed = self.ctl.get("help get")
        self.assertIn("viommuctl get ioas IOAS\n", listed)
        self.assertNotIn("viommuctl list", listed)
        for text in ("get -h", "get --help", "-h get"):
            self.assertEqual(listed, self.ctl.get(text))

    def test_a_kind_lists_its_commands(self):
        listed = self.ctl.get("help ioas")
        for usage in ("create ioas", "list ioas", "delete ioas IOAS", "map IOAS", "create domain"):
            self.assertIn(f"viommuctl {usage} ", listed.replace("\n", " "))
        self.assertNotIn("viommuctl get region", listed)
        self.assertEqual(listed, self.ctl.get("ioas -h"))
        self.assertIn("viommuctl list regions", self.ctl.get("help regions"))


class CompletionTest(unittest.TestCase):
    """In a real bash, with what it hands to a completing function."""

    def setUp(self):
        self.ctl = Viommuctl(self.enterContext(daemon.Daemon()).folder)
        self.ctl.get("create ioas vm0")

    def complete(self, line):
        script = ('source <(viommuctl completion bash); COMP_LINE=$1; COMP_POINT=${#1}; '
                  'COMP_WORDS=(viommuctl); _viommuctl; printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "--norc", "-c", script, "bash", line], cwd=self.ctl.folder,
                              env=self.ctl.env, text=True, capture_output=True, check=True,
                              timeout=_SECONDS)
        self.assertEqual("", done.stderr)
        return done.stdout.split()

    def complete_objects(self, line):
        """The same for names that the daemon is asked for; whoever waits too long gets none."""
        deadline = time.monotonic() + _SECONDS
        while not (names := self.complete(line)):
            self.assertLess(time.monotonic(), deadline, f"nothing completes {line}")
        return names

    def test_commands_flags_and_values(self):
        self.assertEqual(["describe", "delete", "detach"], self.complete("viommuctl de"))
        self.assertEqual(["ioas", "iommu"], self.complete("viommuctl get i"))
        self.assertEqual(["--region", "--request-id"], self.complete("viommuctl map vm0 --re"))
        self.assertEqual(["json"], self.complete("viommuctl get host -o js"))
        self.assertEqual(["r", "rw"], self.complete("viommuctl map vm0 --permission r"))

    def test_objects(self):
        self.assertEqual(["vm0"], self.complete_objects("viommuctl get ioas v"))
        self.assertEqual(["identity"], self.complete_objects("viommuctl attach x id"))

    def test_only_what_stands_behind_a_colon_is_replaced(self):
        self.assertIn("0000:01:00.0", self.complete_objects("viommuctl claim "))
        self.assertEqual(["00.0"], self.complete_objects("viommuctl claim 0000:01:"))

    def test_a_value_that_is_wrong_completes_nothing(self):
        done = self.ctl.run("__complete", "--timeout", "foo", "get", "ioas", "")
        self.assertEqual((OK, "", ""), (done.returncode, done.stdout, done.stderr))

    def test_it_is_silent_when_nobody_answers(self):
        self.ctl.env["VIOMMU_TARGET"] = "none/viommud.sock"
        self.assertEqual([], self.complete("viommuctl get ioas "))


class ReferenceTest(unittest.TestCase):
    def test_the_page_is_what_the_tool_prints(self):
        with open(os.path.join(_ROOT, "docs", "VIOMMUCTL.md"), encoding="utf-8") as file:
            written = file.read()
        self.assertEqual(written, Viommuctl(daemon.new_folder()).get("reference"))

    def test_every_example_is_understood(self):
        ctl = Viommuctl(daemon.new_folder())
        examples = re.findall(r"^Example: `viommuctl (.*)`$", ctl.get("reference"), re.M)
        self.assertGreater(len(examples), 50)
        for example in examples:
            with self.subTest(example):
                # With nobody there, a command line that is understood ends so.
                done = ctl.run(*shlex.split(example), "--timeout=50ms")
                self.assertIn(done.returncode, (OK, UNAVAILABLE), done.stderr)


if __name__ == "__main__":
    case_report.main()
