"""The checkout itself keeps the layering: a case for each directory and for each package."""
import collections
import os
import unittest

from tools import case_report
from tools.layering import dependencies
from tools.layering import direction
from tools.layering import sources

# WORKSPACE is a link into the checkout: no filegroup has to list every source file.
ROOT = os.path.dirname(os.path.realpath(
    os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "WORKSPACE")))


class LayeringTest(unittest.TestCase):
    def test_finds_the_checkout(self):
        self.assertIn("engine/base/address.h", sources.cpp_files(ROOT))


def _add_case(name, problems):
    def check(self):
        self.assertEqual([], problems, "\n" + "\n".join(problems))

    setattr(LayeringTest, name, check)


def _add_cases():
    by_folder = collections.defaultdict(list)
    for path in sources.cpp_files(ROOT):
        by_folder[os.path.dirname(path)] += direction.problems_in(ROOT, path)
    for folder, problems in by_folder.items():
        _add_case(f"test_includes_of_{folder}_go_downward", problems)
    for package, problems in dependencies.problems(ROOT).items():
        _add_case(f"test_deps_of_{package}_name_what_it_includes", problems)


_add_cases()

if __name__ == "__main__":
    case_report.main()
