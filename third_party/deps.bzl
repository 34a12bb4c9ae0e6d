"""Every external repository of the build, all of them on disk already. No archive is fetched."""

load("//third_party:installed.bzl", "installed_repository")

# Abseil's packages -> the cc_library targets in use, named as upstream names them.
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

def _rule_sets():
    for name, path in {
        "bazel_skylib": "/usr/share/bazel/tools/skylib",
        "platforms": "/usr/share/bazel/tools/platforms",
        # Bazel asks for this one before it runs any test; by itself it would download it.
        "remote_coverage_tools": "third_party/coverage_tools",
        # Debian's rules_cc (0.0.4) is too new for Bazel 4.2.3 to load.
        "rules_cc": "third_party/rules_cc",
        "rules_java": "/usr/share/bazel/rules/java",
        "rules_proto": "/usr/share/bazel/rules/proto",
    }.items():
        native.local_repository(name = name, path = path)

def _rpc_libraries():
    installed_repository(
        name = "com_google_protobuf",
        apt = ["libprotobuf-dev", "protobuf-compiler"],
        files = {"//third_party:protobuf.BUILD": "BUILD.bazel"},
        links = {
            "include/google/protobuf": "/usr/include/google/protobuf",
            "usr_bin_protoc": "/usr/bin/protoc",
        },
    )
    installed_repository(
        name = "com_github_grpc_grpc",
        apt = ["libgrpc++-dev", "protobuf-compiler-grpc"],
        files = {
            "//third_party/grpc:cc_grpc_library.bzl": "bazel/cc_grpc_library.bzl",
            "//third_party/grpc:grpc.BUILD": "BUILD.bazel",
        },
        links = {"usr_bin_grpc_cpp_plugin": "/usr/bin/grpc_cpp_plugin"},
        needs = ["/usr/include/grpcpp/grpcpp.h"],
        parts = {"bazel": []},
    )

def _libraries():
    installed_repository(
        name = "com_google_absl",
        apt = ["libabsl-dev"],
        files = {"//third_party:absl.BUILD": "BUILD.bazel"},
        needs = ["/usr/include/absl/status/statusor.h"],
        parts = _ABSL,
    )
    installed_repository(
        name = "com_github_jupp0r_prometheus_cpp",
        apt = ["prometheus-cpp-dev"],
        files = {
            "//third_party/prometheus:core.BUILD": "core/BUILD.bazel",
            "//third_party/prometheus:pull.BUILD": "pull/BUILD.bazel",
        },
        needs = ["/usr/include/prometheus/exposer.h"],
    )
    installed_repository(
        name = "openssl",
        apt = ["libssl-dev"],
        files = {"//third_party:openssl.BUILD": "BUILD.bazel"},
        needs = ["/usr/include/openssl/evp.h"],
    )
    installed_repository(
        name = "org_sqlite",
        apt = ["libsqlite3-dev"],
        files = {"//third_party:sqlite.BUILD": "BUILD.bazel"},
        needs = ["/usr/include/sqlite3.h"],
    )
    installed_repository(
        name = "zlib",
        apt = ["zlib1g-dev"],
        files = {"//third_party:zlib.BUILD": "BUILD.bazel"},
        needs = ["/usr/include/zlib.h"],
    )

def _test_libraries():
    installed_repository(
        name = "com_google_googletest",
        apt = ["libgtest-dev", "libgmock-dev"],
        files = {"//third_party:googletest.BUILD": "BUILD.bazel"},
        needs = ["/usr/include/gtest/gtest.h", "/usr/include/gmock/gmock.h"],
    )
    installed_repository(
        name = "com_github_google_benchmark",
        apt = ["libbenchmark-dev"],
        files = {"//third_party:benchmark.BUILD": "BUILD.bazel"},
        needs = ["/usr/include/benchmark/benchmark.h"],
    )

def viommu_dependencies():
    """Declares every external repository."""
    _rule_sets()
    _rpc_libraries()
    _libraries()
    _test_libraries()
