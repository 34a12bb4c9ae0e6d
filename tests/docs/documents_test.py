"""Every command that the documents show works and prints what they show."""
import os
import re
import shlex
import unittest

from tests.docs import console
from tests.e2e import daemon
from tests.e2e import grpcurl
from tools import case_report
from tools import documents

_ROOT = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
_RUN = "./dev run"
_RPC = re.compile(r"\b([A-Z]\w*Service)[/.]([A-Z]\w*)")
# A reader has these.
_PROGRAMS = f"{_ROOT}/clients/viommuctl:{_ROOT}/server"


class DocumentsTest(unittest.TestCase):
    def test_every_rpc_that_a_document_names_is_served(self):
        named = {(service, method, path) for path in self._documents()
                 for service, method in _RPC.findall(self._text(path))}
        with daemon.Daemon("--unix_socket=viommud.sock") as server:
            client = grpcurl.Client(server)
            served = {service: client.listing(service) for service in client.listing()}
        self.assertGreater(len({method for _, method, _ in named}), 30)
        for service, method, path in sorted(named):
            with self.subTest(document=path, rpc=f"{service}/{method}"):
                full = f"viommu.v1.{service}"
                self.assertIn(f"{full}.{method}", served.get(full, []))

    def _documents(self):
        for folder, _, names in os.walk(_ROOT):
            for name in names:
                if name.endswith(".md"):
                    yield os.path.relpath(os.path.join(folder, name), _ROOT)

    def _replay(self, document):
        commands = documents.commands(self._text(document))
        self.assertGreater(len(commands), 5)
        for session in sessions(commands):
            self._replay_session(session)

    def _replay_session(self, commands):
        folder = daemon.new_folder()
        # A document's reader stands in the checkout, where ./dev run keeps its state.
        os.mkdir(os.path.join(folder, "state"), mode=0o700)
        os.symlink("state", os.path.join(folder, ".state"))
        os.symlink(os.path.join(_ROOT, "deploy"), os.path.join(folder, "deploy"))
        # Only where a session is about them: they take two seconds to stop.
        metrics = any("viommuctl top" in c.text or "endpoints.json" in c.text for c in commands)
        with daemon.Daemon("--unix_socket=.state/viommud.sock", *_run_flags(commands),
                           folder=folder, metrics=metrics):
            # ./dev run puts grpcurl where the document's first line looks for it.
            os.makedirs(os.path.join(folder, ".tools", "bin"))
            os.symlink(grpcurl.binary(), os.path.join(folder, ".tools", "bin", "grpcurl"))
            path = f"{os.environ['PATH']}:{_PROGRAMS}:{folder}/.tools/bin"
            shell = console.Shell(folder, dict(os.environ, PATH=path))
            try:
                for command in commands:
                    if command.text.startswith("./dev "):
                        continue  # Each of those has a test of its own, or is this one's caller.
                    with self.subTest(command=command.text):
                        printed = shell.run(command.text)
                        self.assertTrue(console.matches(command.output, printed),
                                        "printed:\n" + "\n".join(printed))
            finally:
                shell.close()

    def _text(self, path):
        with open(os.path.join(_ROOT, path), encoding="utf-8") as file:
            return file.read()


def _add_cases():
    for document in console.REPLAYED:
        name = os.path.basename(document).partition(".")[0].lower()
        setattr(DocumentsTest, f"test_{name}_prints_what_it_shows",
                lambda self, document=document: self._replay(document))


def sessions(commands):
    """A document's commands, apart where its reader starts the daemon anew."""
    found = [[]]
    for command in commands:
        if command.text.startswith(_RUN) and any(c.text.startswith(_RUN) for c in found[-1]):
            found.append([])
        found[-1].append(command)
    return found


def _run_flags(commands):
    """The flags with which the reader starts a session's daemon."""
    for command in commands:
        if command.text.startswith(_RUN):
            return shlex.split(command.text[len(_RUN):])
    return []


class ConsoleTest(unittest.TestCase):
    """The comparison is not so lenient that nothing could fail."""

    def test_lines_must_be_equal(self):
        self.assertTrue(console.matches(("a", "b"), ("a", "b")))
        self.assertFalse(console.matches(("a", "b"), ("a",)))
        self.assertFalse(console.matches(("a",), ("a", "b")))
        self.assertFalse(console.matches(("a.c",), ("abc",)))

    def test_dots_stand_for_text_or_lines(self):
        self.assertTrue(console.matches(('"x": "..."',), ('"x": "17"',)))
        self.assertFalse(console.matches(('"x": "..."',), ('"y": "17"',)))
        self.assertTrue(console.matches(("{", "...", "}"), ("{", "a", "b", "}")))

    def test_each_start_of_the_daemon_begins_a_session(self):
        lines = ("./dev build", "./dev run", "one", "./dev run --x", "two", "three", "./dev run")
        found = sessions([documents.Command(line, ()) for line in lines])
        self.assertEqual([[c.text for c in session] for session in found],
                         [["./dev build", "./dev run", "one"], ["./dev run --x", "two", "three"],
                          ["./dev run"]])

    def test_commands_and_their_output_are_found(self):
        text = "x\n```console\n$ one\nout\n$ two\n```\n```sh\n$ three\n```\n"
        self.assertEqual(documents.commands(text),
                         [documents.Command("one", ("out",)), documents.Command("two", ())])


_add_cases()

if __name__ == "__main__":
    case_report.main()
