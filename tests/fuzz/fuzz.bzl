"""One list of sources, two programs: a test that replays the corpus, and the libFuzzer binary."""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")

def cc_fuzz_target(name, srcs, deps):
    """Declares X_fuzz, what `./dev fuzz` runs, and X_fuzz_test, part of every test run.

    Args:
      name: X_fuzz; the corpus is tests/fuzz/corpus/X.
      srcs: define LLVMFuzzerTestOneInput.
      deps: as of a cc_library.
    """
    corpus = "//tests/fuzz/corpus:" + name[:-len("_fuzz")]
    cc_library(
        name = name + "_lib",
        testonly = True,
        srcs = srcs,
        deps = deps,
        alwayslink = True,
    )
    cc_test(
        name = name + "_test",
        size = "small",
        timeout = "moderate",  # All computing: it takes half a minute on a busy machine.
        args = ["$(rootpaths %s)" % corpus],
        data = [corpus],
        deps = [
            ":" + name + "_lib",
            "//tests/fuzz:replay_main",
        ],
    )

    # libFuzzer is clang's: it links under --config=fuzz only.
    cc_binary(
        name = name,
        testonly = True,
        linkopts = ["-fsanitize=fuzzer"],
        tags = [
            "fuzz",
            "manual",
        ],
        deps = [":" + name + "_lib"],
    )
