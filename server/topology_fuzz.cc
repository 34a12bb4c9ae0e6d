// A topology file is refused with its places, or good enough to build the machine.
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/topology.h"
#include "server/topology.h"
#include "tests/fuzz/check.h"

namespace viommu {
namespace {

using fuzz::Check;

void CheckTopology(absl::string_view text) {
  Problems problems;
  const Topology topology = ParseTopology("host", text, &problems);
  for (const std::string& problem : problems) {
    Check(absl::StartsWith(problem, "host:"), "a problem without its place");
  }
  if (!problems.empty()) return;
  Check(Validate(topology).empty(), "accepted, but not valid");
  SoftBackendOptions options;
  options.table_arena_bytes = uint64_t{16} << 20;
  const auto backend = SoftBackend::Create(topology, options, {});
  // Only what no parser can know may stand in the way: memory.
  Check(backend.ok() || backend.status().code() == absl::StatusCode::kResourceExhausted,
        backend.status().ToString());
}

}  // namespace
}  // namespace viommu

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  viommu::CheckTopology({reinterpret_cast<const char*>(data), size});
  return 0;
}
