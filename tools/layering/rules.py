"""Who may include whom (engine/DESIGN.md): one direction, written as a table."""

# Directory or file -> directories and files whose headers it may include, besides its own
# directory's. A directory stands for the headers directly in it, "dir/**" for all below it as well.
# What a file may include is the union of its own row and its directory's.
ALLOWED = {
    "engine/base": [],
    "engine/pagetable": ["engine/base"],
    # Entries are stored by the same policies as page-table words are.
    "engine/entries": ["engine/base", "engine/pagetable/store.h"],
    "engine/journal": ["engine/base"],
    "engine/backend": ["engine/base"],
    "engine/backend/fake": ["engine/backend", "engine/base"],
    # types.h lies in engine/ because it is part of the facade, but holds plain values only.
    "engine/model": ["engine/base", "engine/backend", "engine/types.h"],
    "engine/pipeline": ["engine/base", "engine/backend", "engine/journal", "engine/model", "engine/types.h"],
    "engine/operations": ["engine/base", "engine/backend", "engine/journal", "engine/model", "engine/pipeline", "engine/types.h"],
    "engine": [
        "engine/backend",
        "engine/base",
        "engine/journal",
        "engine/model",
        "engine/operations",
        "engine/pipeline",
    ],
    # The hardware model reads the bits that pagetable/ and entries/ write. It shares no code with
    # them, or it would share their mistakes: neither side includes the other. Only soft/ itself,
    # which plugs the two together, knows both.
    "engine/engine_faults_fixture.h": ["engine/backend/fake"],
    "engine/engine_fixture.h": ["engine/backend/fake"],
    "engine/plug_fixture.h": ["engine/backend/fake"],
    "engine/viommu_fixture.h": ["engine/backend/fake"],
    "engine/backend/soft": [
        "engine/backend",
        "engine/backend/soft/hardware",
        "engine/base",
        "engine/entries",
        "engine/pagetable",
    ],
    "engine/backend/soft/hardware": ["engine/base", "engine/backend/soft/physical_memory.h"],
    "server": ["engine", "engine/base", "engine/backend/topology.h", "proto/**"],
    # The one place that knows which backend exists.
    "server/main.cc": ["engine/backend/soft", "engine/journal"],
    "server/services_fixture.h": ["engine/backend/fake", "engine/journal"],
    "clients/**": ["clients/**", "proto/**"],
    # A daemon of its own: settings, logs, metrics and health are those of viommud. None of these
    # headers knows the engine.
    "clients/device_plugin": [
        "clients/client",
        "proto/**",
        "server/health_endpoint.h",
        "server/log.h",
        "server/metrics_endpoint.h",
        "server/rpc_interceptor.h",
        "server/rpc_metrics.h",
        "server/settings.h",
        "server/signals.h",
        "server/socket_address.h",
        "server/text_file.h",
    ],
    "clients/device_plugin/main.cc": [
        "engine/base/env.h",
        "server/process_metrics.h",
        "server/program.h",
    ],
    "tests/**": ["clients/**", "engine/**", "proto/**", "server/**", "tests/**"],
}

# What tests and benchmarks of a directory may include on top of its row. Never the other half of
# the software IOMMU from pagetable/, entries/ or hardware/.
ALLOWED_IN_TESTS = {
    "engine/pagetable": ["engine/backend/soft/physical_memory.h"],
    "engine/entries": ["engine/backend/soft/physical_memory.h", "engine/pagetable"],
    "engine": ["engine/backend/fake"],
    "engine/operations": ["engine/backend/fake"],
    "engine/pipeline": ["engine/backend/fake"],
    "server": ["engine/backend/fake", "engine/backend/soft", "engine/journal"],
}

# What the fuzz targets of every directory may include on top of that.
ALLOWED_IN_FUZZ_TARGETS = ["tests/fuzz"]

# Below this directory nothing of another's API or RPC framework is included, in any way.
FOREIGN_TO_ENGINE = ("clients/", "google/", "grpc/", "grpcpp/", "prometheus/", "proto/", "server/", "viommu/")

# Generated headers by the path under which they are included -> the package that generates them.
GENERATED = {
    "google/rpc/": "proto/google/rpc",
    "grpc/health/v1/": "proto/grpc/health/v1",
    "kubelet/deviceplugin/v1beta1/": "proto/kubelet/deviceplugin/v1beta1",
    "kubelet/podresources/v1/": "proto/kubelet/podresources/v1",
    "viommu/config/v1/": "proto/viommu/config/v1",
    "viommu/v1/": "proto/viommu/v1",
}

# Include prefix -> prefixes of the labels that provide it; the first match counts.
PROVIDERS = [
    ("google/protobuf/", ["@com_google_protobuf//", "//proto/"]),
    ("benchmark/", ["@com_github_google_benchmark//"]),
    ("gmock/", ["@com_google_googletest//"]),
    ("grpc/", ["@com_github_grpc_grpc//"]),
    ("grpcpp/", ["@com_github_grpc_grpc//"]),
    ("gtest/", ["@com_google_googletest//"]),
    ("openssl/", ["@openssl//"]),
    ("prometheus/", ["@com_github_jupp0r_prometheus_cpp//"]),
    ("sqlite3.h", ["@org_sqlite//"]),
    ("zlib.h", ["@zlib//"]),
]
