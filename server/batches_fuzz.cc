// Whatever a client sends as a batch is refused in words, or turned into a batch the engine can
// index without looking twice.
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/types.h"
#include "google/protobuf/stubs/logging.h"
#include "server/batches.h"
#include "tests/fuzz/bytes.h"
#include "tests/fuzz/check.h"
#include "viommu/v1/ioas.pb.h"
#include "viommu/v1/mapping.pb.h"

namespace viommu {
namespace {

using fuzz::Check;

void CheckRefusal(const absl::Status& status) {
  Check(status.code() == absl::StatusCode::kInvalidArgument, "another code than the contract's");
  Check(!status.message().empty(), "a refusal without words");
}

void CheckMapBatch(const absl::StatusOr<MapBatch>& batch) {
  if (!batch.ok()) return CheckRefusal(batch.status());
  Check(batch->entries.size() <= kMaxBatchEntries, "a batch that is too large");
  for (const MapEntry& entry : batch->entries) {
    Check(entry.region < batch->regions.size(), "an entry of a region that is not there");
    const auto permission = static_cast<uint8_t>(entry.permission);
    Check(permission >= 1 && permission <= 3, "a permission that is none");
  }
}

void CheckUnmapBatch(const absl::StatusOr<UnmapBatch>& batch) {
  if (!batch.ok()) return CheckRefusal(batch.status());
  Check(batch->entries.size() <= kMaxBatchEntries, "a batch that is too large");
  Check(!batch->all || batch->entries.empty(), "everything, and more");
}

// A stream's first message, then one batch.
void CheckStream(fuzz::Bytes* bytes) {
  v1::OpenStream open;
  v1::MapBatch batch;
  open.ParseFromString(bytes->Text(bytes->Byte()));
  const absl::StatusOr<StreamDefaults> defaults = ParseDefaults(open);
  if (!defaults.ok()) CheckRefusal(defaults.status());
  batch.ParseFromString(bytes->Text(bytes->left()));
  CheckMapBatch(ParseArrays(batch, defaults.value_or(StreamDefaults())));
}

// The parsed part of a malformed message is as good an input as a whole one.
template <typename Message>
Message Parse(fuzz::Bytes* bytes) {
  Message message;
  message.ParseFromString(bytes->Text(bytes->left()));
  return message;
}

}  // namespace
}  // namespace viommu

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const google::protobuf::LogSilencer quiet;  // It would log every text that is no UTF-8.
  viommu::fuzz::Bytes bytes(data, size);
  switch (bytes.Below(4)) {
    case 0:
      viommu::CheckMapBatch(viommu::ParseMap(viommu::Parse<viommu::v1::MapRequest>(&bytes)));
      break;
    case 1:
      viommu::CheckUnmapBatch(viommu::ParseUnmap(viommu::Parse<viommu::v1::UnmapRequest>(&bytes)));
      break;
    case 2:
      viommu::CheckUnmapBatch(viommu::ParseArrays(viommu::Parse<viommu::v1::UnmapBatch>(&bytes)));
      break;
    default:
      viommu::CheckStream(&bytes);
  }
  return 0;
}
