"""The checks find what they are there to find, in small trees made for the purpose."""
import os
import tempfile
import unittest

from tools import case_report
from tools.layering import build_files
from tools.layering import dependencies
from tools.layering import direction
from tools.layering import sources


def write_tree(case, files):
    folder = tempfile.TemporaryDirectory()
    case.addCleanup(folder.cleanup)
    for path, text in files.items():
        full = os.path.join(folder.name, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as out:
            out.write(text)
    return folder.name


class DirectionTest(unittest.TestCase):
    def allowed(self, path, include):
        root = write_tree(self, {path: f'#include <vector>\n#include "{include}"\n'})
        return direction.problems_in(root, path) == []

    def test_lets_includes_go_down(self):
        for path, include in (
                ("engine/base/a.cc", "engine/base/a.h"),
                ("engine/base/a.cc", "absl/status/status.h"),
                ("engine/pagetable/a.h", "engine/base/address.h"),
                ("engine/entries/a.h", "engine/pagetable/store.h"),
                ("engine/model/a.h", "engine/backend/backend.h"),
                ("engine/engine.cc", "engine/model/ioas.h"),
                ("engine/backend/soft/a.cc", "engine/pagetable/page_table.h"),
                ("engine/backend/soft/a.cc", "engine/backend/soft/hardware/vtd_model.h"),
                ("engine/backend/soft/hardware/a.h", "engine/backend/soft/physical_memory.h"),
                ("server/a.cc", "engine/engine.h"),
                ("server/a.cc", "viommu/v1/host.grpc.pb.h"),
                ("server/a.cc", "grpcpp/grpcpp.h"),
                ("server/main.cc", "engine/backend/soft/soft_backend.h"),
                ("clients/demo/a.cc", "viommu/v1/host.pb.h"),
                ("tests/property/a_test.cc", "engine/backend/soft/hardware/vtd_model.h"),
                ("engine/backend/soft/hardware/a_fuzz.cc", "tests/fuzz/bytes.h"),
        ):
            with self.subTest(path=path, include=include):
                self.assertTrue(self.allowed(path, include))

    def test_refuses_includes_that_go_up_or_across(self):
        for path, include in (
                ("engine/base/a.h", "engine/model/ioas.h"),
                ("engine/pagetable/a.h", "engine/entries/a.h"),
                ("engine/pagetable/a_test.cc", "engine/backend/soft/hardware/vtd_model.h"),
                ("engine/base/a_test.cc", "tests/fuzz/bytes.h"),
                ("engine/base/a_fuzz.cc", "tests/property/world.h"),
                ("engine/entries/a.h", "engine/pagetable/walker.h"),
                ("engine/entries/a_test.cc", "engine/backend/soft/hardware/vtd_model.h"),
                ("engine/backend/soft/hardware/a.h", "engine/pagetable/store.h"),
                ("engine/backend/soft/hardware/a_test.cc", "engine/entries/a.h"),
                ("engine/backend/soft/hardware/a.h", "engine/backend/soft/soft_backend.h"),
                ("engine/backend/soft/a.cc", "engine/model/ioas.h"),
                ("engine/model/a.cc", "engine/backend/soft/soft_backend.h"),
                ("engine/model/a.cc", "engine/engine.h"),
                ("engine/pipeline/a.cc", "engine/operations/attach.h"),
                ("engine/model/a.cc", "engine/pipeline/pipeline.h"),
                ("engine/engine.cc", "engine/backend/soft/soft_backend.h"),
                ("engine/engine.cc", "engine/pagetable/page_table.h"),
                ("engine/engine.cc", "viommu/v1/host.pb.h"),
                ("engine/engine.cc", "proto/viommu/v1/host.pb.h"),
                ("engine/engine.cc", "server/server.h"),
                ("engine/engine.cc", "grpcpp/grpcpp.h"),
                ("engine/base/a.cc", "google/protobuf/message.h"),
                ("server/a.cc", "engine/backend/soft/soft_backend.h"),
                ("server/a.cc", "engine/backend/backend.h"),
                ("server/a.cc", "engine/model/ioas.h"),
                ("clients/demo/a.cc", "engine/engine.h"),
                ("clients/demo/a.cc", "server/server.h"),
        ):
            with self.subTest(path=path, include=include):
                self.assertFalse(self.allowed(path, include))

    def test_asks_for_a_row_for_a_new_directory(self):
        self.assertFalse(self.allowed("engine/newcomer/a.h", "engine/base/address.h"))

    def test_sees_angle_brackets_and_odd_spacing(self):
        root = write_tree(self, {"engine/a.cc": "  #  include   <grpcpp/grpcpp.h>\n"})
        self.assertEqual(sources.includes(root, "engine/a.cc"), ["grpcpp/grpcpp.h"])
        self.assertEqual(len(direction.problems_in(root, "engine/a.cc")), 1)


BUILD = """
load("@rules_cc//cc:defs.bzl", "cc_library", "cc_test")

_COMMON = ["@com_google_absl//absl/status"]

cc_library(
    name = "a",
    srcs = ["a.cc"],
    hdrs = ["a.h"],
    textual_hdrs = ["a_inl.h"],
    deps = _COMMON + select({"//:tsan": ["//engine/base:b"], "//conditions:default": []}),
)
"""


class DependenciesTest(unittest.TestCase):
    def problems(self, files):
        found = dependencies.problems(write_tree(self, files))
        return [line for lines in found.values() for line in lines]

    def test_reads_lists_names_sums_and_selects(self):
        root = write_tree(self, {"engine/BUILD.bazel": BUILD})
        self.assertEqual(build_files.read(root, "engine"), [build_files.Target(
            label="//engine:a", files=("engine/a.cc", "engine/a.h", "engine/a_inl.h"),
            headers=("engine/a.h", "engine/a_inl.h"),
            deps=("@com_google_absl//absl/status:status", "//engine/base:b"))])

    def test_accepts_what_the_target_or_a_direct_dep_provides(self):
        self.assertEqual([], self.problems({
            "engine/BUILD.bazel": BUILD,
            "engine/a.h": '#include "engine/a_inl.h"',
            "engine/a_inl.h": "",
            "engine/a.cc": '#include "engine/a.h"\n#include "engine/base/b.h"\n'
                           '#include "absl/status/status.h"\n#include <vector>\n',
            "engine/base/BUILD.bazel": 'cc_library(name = "b", hdrs = ["b.h"])',
            "engine/base/b.h": "",
        }))

    def test_finds_a_header_that_comes_through_a_dep_of_a_dep(self):
        problems = self.problems({
            "engine/base/BUILD.bazel": 'cc_library(name = "a", hdrs = ["a.h"])\n'
                                       'cc_library(name = "b", hdrs = ["b.h"], deps = [":a"])\n'
                                       'cc_library(name = "c", hdrs = ["c.h"], deps = [":b"])\n',
            "engine/base/a.h": "",
            "engine/base/b.h": '#include "engine/base/a.h"\n',
            "engine/base/c.h": '#include "engine/base/a.h"\n#include "engine/base/b.h"\n',
        })
        self.assertEqual(problems, ["//engine/base:c: engine/base/c.h includes engine/base/a.h, "
                                    "deps lack //engine/base:a"])

    def test_finds_an_undeclared_system_library(self):
        for include in ("absl/strings/str_cat.h", "gtest/gtest.h", "grpcpp/grpcpp.h", "sqlite3.h",
                        "openssl/evp.h", "prometheus/counter.h", "viommu/v1/host.pb.h"):
            with self.subTest(include=include):
                problems = self.problems({
                    "server/BUILD.bazel": 'cc_library(name = "a", srcs = ["a.cc"], '
                                          'deps = ["@com_google_absl//absl/status"])',
                    "server/a.cc": f"#include <{include}>\n",
                })
                self.assertEqual(len(problems), 1)

    def test_finds_a_file_that_no_target_has_and_a_target_without_its_file(self):
        self.assertEqual(self.problems({
            "engine/base/BUILD.bazel": 'cc_library(name = "a", hdrs = ["gone.h"])',
            "engine/base/left.h": "",
        }), ["//engine/base:a: engine/base/gone.h does not exist",
             "engine/base/left.h: in no cc target"])

    def test_says_so_when_it_cannot_read_a_list(self):
        problems = self.problems({
            "engine/BUILD.bazel": '\ncc_library(name = "a", srcs = glob(["*.cc"]))'})
        self.assertEqual(problems, ["engine/BUILD.bazel: line 2: write this as a plain list"])


if __name__ == "__main__":
    case_report.main()
