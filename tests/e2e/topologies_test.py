"""viommud starts with every file of deploy/topologies; what is special about the large ones works."""
import os
import re
import subprocess
import unittest

from tests.e2e import daemon
from tools import case_report

_ROOT = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
_FOLDER = os.path.join(_ROOT, "deploy", "topologies")
_VIOMMUCTL = os.path.join(_ROOT, "clients", "viommuctl", "viommuctl")
_DEVICE = re.compile(r"^devices \{[^{]*?\bid: \"([^\"]+)\"", re.S | re.M)
_SECONDS = 30

# Of the large server: the first and last virtual functions of its cards, and a work queue.
_FUNCTIONS = ("0000:16:01.0", "0000:16:10.7", "0000:2d:04.0", "0000:98:10.7")
_ACCELERATOR = "0000:3a:00.7"


def _files():
    return sorted(name for name in os.listdir(_FOLDER) if name.endswith(".textproto"))


def _devices_in(name):
    with open(os.path.join(_FOLDER, name), encoding="utf-8") as file:
        return sorted(_DEVICE.findall(file.read()))


class TopologiesTest(unittest.TestCase):
    def start(self, name):
        server = daemon.Daemon("--topology", os.path.join(_FOLDER, name))
        env = dict(os.environ, VIOMMU_TARGET="state/viommud.sock")

        def ctl(text, code=0):
            done = subprocess.run([_VIOMMUCTL, *text.split()], cwd=server.folder, env=env, text=True,
                                  capture_output=True, timeout=_SECONDS, check=False)
            self.assertEqual(code, done.returncode, f"{text}: {done.stderr}")
            return done.stdout + done.stderr

        return server, ctl

    def test_the_daemon_starts_with_each_and_shows_all_of_it(self):
        self.assertGreaterEqual(len(_files()), 6)
        for name in _files():
            server, ctl = self.start(name)
            with self.subTest(name), server:
                shown = [line.split()[0] for line in ctl("list devices").splitlines()[1:]]
                self.assertEqual(_devices_in(name), sorted(shown))

    def test_functions_of_a_large_server_serve_guests_of_their_own(self):
        server, ctl = self.start("vtd-server.textproto")
        with server:
            for number, device in enumerate(_FUNCTIONS):
                ctl(f"claim {device}")
                ctl(f"create region ram{number} --size 1M")
                ctl(f"create ioas vm{number}")
                ctl(f"map vm{number} --region ram{number} --size 1M --iova 0x100000")
                ctl(f"create domain vm{number} --ioas vm{number} --device {device}")
                ctl(f"attach {device} vm{number}")
            for number, device in enumerate(_FUNCTIONS):
                ctl(f"dma write {device} 0x100000 --hex 0{number + 1}")
            for number in range(len(_FUNCTIONS)):
                self.assertIn(f"  0{number + 1} ", ctl(f"memory read ram{number} --size 1"))

    def test_a_work_queue_of_a_large_server_has_addresses_of_its_own(self):
        server, ctl = self.start("vtd-server.textproto")
        with server:
            ctl(f"claim {_ACCELERATOR}")
            ctl("create region ram --size 4K")
            ctl("create ioas queue")
            ctl("map queue --region ram --size 4K --iova 0x1000")
            ctl(f"create domain queue --ioas queue --device {_ACCELERATOR} --pasid")
            ctl(f"attach {_ACCELERATOR} queue --pasid 1048575")
            ctl(f"dma write {_ACCELERATOR} 0x1000 --pasid 1048575 --hex 07")
            self.assertIn("  07 ", ctl("memory read ram --size 1"))

    def test_what_firmware_goes_on_using_is_no_guests(self):
        server, ctl = self.start("vtd-server.textproto")
        with server:
            for device in ("0000:03:00.0", "0000:c8:00.0"):
                self.assertIn("DIRECT", ctl(f"claim {device}", code=4))


if __name__ == "__main__":
    case_report.main()
