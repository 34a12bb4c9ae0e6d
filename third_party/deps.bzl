"""All external repositories, wrapped around what Debian bookworm installs."""

load("//third_party:system_repo.bzl", "system_repo")

# Package -> cc_library targets, named as upstream Abseil names them.
_ABSL = {
    "absl/base": ["base", "config", "core_headers", "log_severity"],
    "absl/cleanup": ["cleanup"],
    "absl/container": ["btree", "fixed_array", "flat_hash_map", "flat_hash_set", "inlined_vector", "node_hash_map"],
    "absl/debugging": ["failure_signal_handler", "stacktrace", "symbolize"],
    "absl/flags": ["flag", "parse", "reflection", "usage"],
    "absl/functional": ["any_invocable", "bind_front", "function_ref"],
    "absl/hash": ["hash"],
    "absl/memory": ["memory"],
    "absl/numeric": ["bits", "int128"],
    "absl/random": ["random"],
    "absl/status": ["status", "statusor"],
    "absl/strings": ["cord", "str_format", "strings"],
    "absl/synchronization": ["synchronization"],
    "absl/time": ["time"],
    "absl/types": ["optional", "span", "variant"],
    "absl/utility": ["utility"],
}

def system_dependencies():
    """Declares the rule sets and the C++ libraries the build needs."""

    # Rule sets. Debian's rules_cc 0.0.4 does not load under Bazel 4.2.3, so a
    # shim that forwards to the native rules stands in for it.
    native.local_repository(name = "rules_cc", path = "third_party/rules_cc")
    native.local_repository(name = "rules_java", path = "/usr/share/bazel/rules/java")
    native.local_repository(name = "rules_proto", path = "/usr/share/bazel/rules/proto")
    native.local_repository(name = "bazel_skylib", path = "/usr/share/bazel/tools/skylib")
    native.local_repository(name = "platforms", path = "/usr/share/bazel/tools/platforms")

    # Without this every `bazel test` tries to download coverage_output_generator.
    native.local_repository(name = "remote_coverage_tools", path = "third_party/coverage_tools")

    system_repo(
        name = "com_google_absl",
        apt = "libabsl-dev",
        build_file = "//third_party:absl.BUILD",
        packages = _ABSL,
        requires = ["/usr/include/absl/status/statusor.h"],
    )
    system_repo(
        name = "com_google_protobuf",
        apt = "libprotobuf-dev protobuf-compiler",
        build_file = "//third_party:protobuf.BUILD",
        links = {
            "protoc_bin": "/usr/bin/protoc",
            "include/google/protobuf": "/usr/include/google/protobuf",
        },
    )
    system_repo(
        name = "com_github_grpc_grpc",
        apt = "libgrpc++-dev protobuf-compiler-grpc",
        build_file = "//third_party:grpc.BUILD",
        files = {"//third_party:grpc/cc_grpc_library.bzl": "bazel/cc_grpc_library.bzl"},
        links = {"grpc_cpp_plugin_bin": "/usr/bin/grpc_cpp_plugin"},
        packages = {"bazel": []},
        requires = ["/usr/include/grpcpp/grpcpp.h"],
    )
    system_repo(
        name = "com_github_jupp0r_prometheus_cpp",
        apt = "prometheus-cpp-dev",
        build_file = "//third_party:empty.BUILD",
        packages = {"core": ["core"], "pull": ["pull"]},
        linkopts = {
            "core": ["-lprometheus-cpp-core"],
            "pull": ["-lprometheus-cpp-pull", "-lprometheus-cpp-core"],
        },
        requires = ["/usr/include/prometheus/exposer.h"],
    )
    system_repo(
        name = "com_google_googletest",
        apt = "libgtest-dev libgmock-dev",
        build_file = "//third_party:googletest.BUILD",
        requires = ["/usr/include/gtest/gtest.h", "/usr/include/gmock/gmock.h"],
    )
    system_repo(
        name = "com_github_google_benchmark",
        apt = "libbenchmark-dev",
        build_file = "//third_party:benchmark.BUILD",
        requires = ["/usr/include/benchmark/benchmark.h"],
    )
    system_repo(
        name = "openssl",
        apt = "libssl-dev",
        build_file = "//third_party:openssl.BUILD",
        requires = ["/usr/include/openssl/evp.h"],
    )
    system_repo(
        name = "org_sqlite",
        apt = "libsqlite3-dev",
        build_file = "//third_party:sqlite.BUILD",
        requires = ["/usr/include/sqlite3.h"],
    )
