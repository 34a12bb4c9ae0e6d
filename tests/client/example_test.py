"""The example of docs/CLIENT.md is the program that is built, and it does what it says."""
import os
import subprocess
import threading
import time
import unittest

from tests.e2e import daemon
from tools import case_report

_ROOT = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
_EXAMPLE = os.path.join(_ROOT, "clients", "client", "example")
_PRINTED = """\
mapped 40960000 bytes
FAILED_PRECONDITION (IN_USE): """


def read(*path):
    with open(os.path.join(_ROOT, *path), encoding="utf-8") as file:
        return file.read()


def run(target, folder):
    return subprocess.run([_EXAMPLE, target], cwd=folder, capture_output=True, text=True,
                          timeout=60, check=False)


class ExampleTest(unittest.TestCase):
    def test_document_shows_the_program(self):
        shown = read("docs", "CLIENT.md").split("```cpp\n// clients/client/example.cc")
        self.assertEqual(2, len(shown), "the document shows it once")
        text = "// clients/client/example.cc" + shown[1].split("```", 1)[0]
        self.assertEqual(read("clients", "client", "example.cc"), text)

    def test_document_says_what_it_prints(self):
        with daemon.Daemon("--unix_socket=v.sock") as viommud:
            printed = run("unix:v.sock", viommud.folder).stdout
        self.assertIn(f"```text\n{printed}```", read("docs", "CLIENT.md"))

    def test_maps_explains_and_leaves_nothing_behind(self):
        with daemon.Daemon("--unix_socket=v.sock") as viommud:
            for target in ("unix:v.sock", "./v.sock"):
                with self.subTest(target):
                    result = run(target, viommud.folder)
                    self.assertEqual(0, result.returncode, result.stderr)
                    self.assertTrue(result.stdout.startswith(_PRINTED), result.stdout)
                    self.assertIn("\n  referred to by: ioas/example", result.stdout)
                    self.assertEqual("", result.stderr)

    def test_refuses_a_malformed_target(self):
        result = run("nowhere", daemon.new_folder())
        self.assertEqual(1, result.returncode)
        self.assertIn('INVALID_ARGUMENT: target "nowhere": there is no port', result.stderr)

    def test_waits_for_a_daemon_that_is_just_being_started(self):
        # It waits for five seconds, and not for a slow disk.
        daemon.run("--version")
        folder = daemon.new_folder()
        results = []
        client = threading.Thread(target=lambda: results.append(run("./v.sock", folder)))
        client.start()
        time.sleep(0.3)
        with daemon.Daemon("--unix_socket=v.sock", folder=folder):
            client.join()
        self.assertEqual(0, results[0].returncode, results[0].stderr)

    def test_says_that_nobody_is_there(self):
        result = run("./none.sock", daemon.new_folder())
        self.assertEqual(1, result.returncode)
        self.assertIn("UNAVAILABLE: no server answers at ./none.sock within 5s: No such file",
                      result.stderr)


if __name__ == "__main__":
    case_report.main()
