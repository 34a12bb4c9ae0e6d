"""Runs the demo as ./dev does, and against daemons that are none."""
import os
import re
import stat
import subprocess
import tempfile
import unittest

from tools import case_report

DEMO = os.path.abspath("clients/demo/demo")
VIOMMUD = os.path.abspath("server/viommud")

STEPS = [
    "start the daemon",
    "read its metrics",
    "ask who serves",
    "find a device",
    "claim it",
    "DMA before it is attached",
    "create two memory regions",
    "create two IO address spaces",
    "create two domains",
    "map 1 GiB in each",
    "attach the device",
    "DMA in: the device reads memory",
    "DMA out: the device writes memory",
    "replace the domain under running DMA",
    "read its metrics",
    "unmap",
    "DMA after the unmap",
    "detach the device",
    "delete everything",
    "release the device",
    "read its metrics",
    "stop the daemon",
]

# Says that it is ready, and leaves a note of its process.
PRETENDER = """#!/bin/sh
dir=${1#--state_dir=}
echo $$ > "$0.pid"
echo '{"unix_socket":"/nowhere/s","metrics_address":"127.0.0.1:9"}' > "$dir/new"
mv "$dir/new" "$dir/endpoints.json"
exec sleep 60
"""


class DemoTest(unittest.TestCase):
    def setUp(self):
        # Short, for the socket's path; what the demo makes is seen here.
        folder = tempfile.TemporaryDirectory(dir="/tmp")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def run_demo(self, *arguments):
        temporary = os.path.join(self.folder, "tmp")
        os.makedirs(temporary, exist_ok=True)
        result = subprocess.run([DEMO, *arguments], capture_output=True, text=True, timeout=50,
                                check=False, env={**os.environ, "TMPDIR": temporary})
        self.assertEqual(os.listdir(temporary), [], "a state folder was left behind")
        return result

    def script(self, text):
        path = os.path.join(self.folder, "viommud")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, stat.S_IRWXU)
        return path

    def test_every_step_is_right(self):
        result = self.run_demo(f"--viommud={VIOMMUD}")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertEqual(result.stderr, "")
        self.assertNotIn("\033", result.stdout)
        steps = re.findall(r"^ *(\d+)  (.+?) +ok +[\d.]+ ms  \S", result.stdout, re.MULTILINE)
        self.assertEqual(steps, [(str(i + 1), name) for i, name in enumerate(STEPS)])
        self.assertIn(f"All {len(STEPS)} steps were right", result.stdout)

        # What the device saw while its domain was replaced: VT-d replaces without a gap.
        self.assertRegex(result.stdout, r"51 times to and fro, 51 of them hitless")
        counts = re.search(r"(\d+) reads meanwhile, (\d+) during a replacement:\s+"
                           r"(\d+) saw the old bytes, (\d+) the new, (\d+) a fault", result.stdout)
        reads, _, old, new, faults = map(int, counts.groups())
        self.assertEqual(reads, old + new)
        self.assertGreater(old, 51)
        self.assertGreater(new, 51)
        self.assertEqual(faults, 0)

        # The faults that were provoked, with reason and address.
        self.assertRegex(result.stdout, r"DMA before .+ blocked at 0x100000000: SPT\.2, ")
        self.assertRegex(result.stdout, r"DMA after .+ blocked at 0x110000000: SSS\.2, ")

        metrics = result.stdout.split("The metrics that moved:")[1]
        for row in (r'viommu_attach_transitions_total\{kind="paging_to_paging",hitless="true"\} +0 +51 +51',
                    r'viommu_dma_faults_total\{reason="SSS.2"\} +0 +0 +2',
                    r"viommu_mapped_bytes +0 +2147483648 +0"):
            self.assertRegex(metrics, row)

    def test_names_the_step_that_went_wrong(self):
        cases = (
            ("no such program", os.path.join(self.folder, "none"), 1, "start the daemon",
             "No such file or directory"),
            ("ends at once", self.script("#!/bin/sh\necho bad luck >&2\nexit 2\n"), 1,
             "start the daemon", "bad luck"),
        )
        for name, program, number, step, told in cases:
            with self.subTest(name):
                result = self.run_demo(f"--viommud={program}")
                self.assertEqual(result.returncode, 1)
                self.assertIn(f"demo: failed at step {number}: {step}", result.stderr)
                self.assertRegex(result.stdout, rf"{number}  {step} +FAILED")
                self.assertIn(told, result.stdout)

    def test_stops_a_daemon_that_does_not_serve(self):
        program = self.script(PRETENDER)
        result = self.run_demo(f"--viommud={program}")
        self.assertEqual(result.returncode, 1)
        self.assertIn("demo: failed at step 1: start the daemon", result.stderr)
        self.assertIn("no server answers at /nowhere/s", result.stdout)
        with open(program + ".pid", encoding="utf-8") as pid:
            with self.assertRaises(ProcessLookupError):
                os.kill(int(pid.read()), 0)

    def test_explains_its_arguments(self):
        for arguments in ([], ["--wrong"], ["--viommud="]):
            with self.subTest(arguments):
                result = self.run_demo(*arguments)
                self.assertEqual(result.returncode, 2)
                self.assertIn("usage: demo --viommud=PATH", result.stderr)
        self.assertEqual(self.run_demo("--help").returncode, 0)


if __name__ == "__main__":
    case_report.main()
