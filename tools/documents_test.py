import os
import tempfile
import unittest

from tools import case_report
from tools import documents

_DOCUMENT = """# Title

Say `./dev help` or `promtool
check rules` -- `a_name` and `--flag x` are none, nor is
`make`.

    bazel build //x    # some words

```console
$ ./dev run
ready
$ viommuctl health
```

```sh
apt install ./x.deb
echo no
```

```text
viommud prints this
$ viommud --help
```

Again `./dev help`.
"""


class DocumentsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name

    def write(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)

    def test_commands_are_found_wherever_they_stand(self):
        self.write("docs/A.md", _DOCUMENT)
        self.assertEqual(
            {"./dev run", "./dev help", "promtool check rules", "bazel build //x",
             "apt install ./x.deb", "viommud --help"},
            {command for _, command in documents.shown(self.root)})

    def test_each_is_shown_once_by_a_document(self):
        self.write("A.md", _DOCUMENT)
        self.write("B.md", "`./dev help`")
        self.assertEqual([("A.md", "./dev help"), ("B.md", "./dev help")],
                         [row for row in documents.shown(self.root) if row[1] == "./dev help"])

    def test_the_reference_is_left_to_its_own_test(self):
        self.write(documents.REFERENCE, _DOCUMENT)
        self.assertEqual([], documents.shown(self.root))

    def test_what_others_put_there_is_no_document(self):
        for folder in (".tools", "bazel-bin", "x/node_modules"):
            self.write(f"{folder}/A.md", _DOCUMENT)
        self.write("x/B.md", "")
        self.assertEqual(["x/B.md"], documents.paths(self.root, ".md"))


if __name__ == "__main__":
    case_report.main()
