#include "engine/pagetable/page_table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {
namespace {

// Whether [first, first + size_bytes) ends at or below `last`; `size_bytes` is not 0.
bool EndsWithin(uint64_t first, uint64_t size_bytes, uint64_t last) {
  return first <= last && size_bytes - 1 <= last - first;
}

absl::Status SizeError() {
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_SIZE", "the size is 0")
      .Errno("EINVAL")
      .Field("size_bytes");
}

absl::Status AlignmentError(Iova iova, PhysAddr to, uint64_t size_bytes, uint64_t page_bytes) {
  return Error(absl::StatusCode::kInvalidArgument, "UNALIGNED",
               absl::StrCat("IOVA ", Hex(iova), ", physical address ", Hex(to.value), " or size ",
                            Hex(size_bytes), " is not a multiple of ", Hex(page_bytes)))
      .Errno("EINVAL");
}

absl::Status PermissionError() {
  return Error(absl::StatusCode::kInvalidArgument, "PERMISSION_NONE",
               "neither read nor write is permitted")
      .Errno("EINVAL")
      .Field("permission");
}

absl::Status ApertureError(Iova iova, uint64_t size_bytes, const IovaRange& aperture) {
  return Error(absl::StatusCode::kOutOfRange, "IOVA_OUT_OF_APERTURE",
               absl::StrCat(Hex(size_bytes), " bytes at IOVA ", Hex(iova),
                            " do not end in the aperture ", ToString(aperture)))
      .Errno("ERANGE")
      .Field("iova");
}

absl::Status PhysicalWidthError(PhysAddr to, uint64_t size_bytes, int output_bits) {
  return Error(absl::StatusCode::kOutOfRange, "PHYSICAL_ADDRESS_TOO_WIDE",
               absl::StrCat(Hex(size_bytes), " bytes at physical address ", Hex(to.value),
                            " need more than ", output_bits, " bits"))
      .Errno("ERANGE");
}

absl::Status ConflictError(Iova iova) {
  return Error(absl::StatusCode::kFailedPrecondition, "IOVA_CONFLICT",
               absl::StrCat("IOVA ", Hex(iova), " is mapped already"))
      .Errno("EADDRINUSE")
      .Field("iova")
      .Meta("iova", Hex(iova));
}

absl::Status ExhaustedError(uint64_t tables_needed) {
  return Error(absl::StatusCode::kResourceExhausted, "TABLE_MEMORY_EXHAUSTED",
               absl::StrCat("there is no room left for the ", tables_needed, " tables needed"))
      .Errno("ENOMEM");
}

}  // namespace

PageTable::PageTable(const Shape& shape, TableArena* arena, std::unique_ptr<TableWalker> walker)
    : shape_(shape), arena_(arena), walker_(std::move(walker)) {}

PageTable::~PageTable() {
  if (walker_ == nullptr) return;
  PageList tables;
  walker_->Clear(&tables);
  arena_->Free(&tables);
  arena_->FreeBlock(shape_.root, shape_.root_pages_log2);
}

// The errors are made elsewhere to keep this short: it is a good part of mapping one page.
inline absl::Status PageTable::CheckMap(Iova iova, PhysAddr to, uint64_t size_bytes,
                                        PageAccess permission) const {
  // The lowest set bit is the smallest page.
  const uint64_t page_bytes = shape_.page_sizes & -shape_.page_sizes;
  const uint64_t last_physical = LowBits(shape_.output_bits);
  if (size_bytes == 0) return SizeError();
  if (!IsAligned(iova | to.value | size_bytes, page_bytes)) {
    return AlignmentError(iova, to, size_bytes, page_bytes);
  }
  if (permission.none()) return PermissionError();
  if (!EndsWithin(iova, size_bytes, aperture().last)) {
    return ApertureError(iova, size_bytes, aperture());
  }
  if (!EndsWithin(to.value, size_bytes, last_physical)) {
    return PhysicalWidthError(to, size_bytes, shape_.output_bits);
  }
  return absl::OkStatus();
}

absl::Status PageTable::Map(Iova iova, PhysAddr to, uint64_t size_bytes, PageAccess permission,
                            MemoryType memory) {
  RETURN_IF_ERROR(CheckMap(iova, to, size_bytes, permission));
  const MapOutcome outcome = walker_->Map({iova, iova + (size_bytes - 1)}, to, permission, memory);
  switch (outcome.kind) {
    case MapOutcome::kConflict:
      return ConflictError(outcome.conflict);
    case MapOutcome::kExhausted:
      return ExhaustedError(outcome.tables_needed);
    case MapOutcome::kDone:
      break;
  }
  return absl::OkStatus();
}

void PageTable::SetLargeLeaves(bool large_leaves) {
  const uint64_t sizes = shape_.page_sizes;
  walker_->SetLeafSizes(large_leaves ? sizes : sizes & -sizes);
}

uint64_t PageTable::Unmap(Iova iova, uint64_t size_bytes, PageList* freed) {
  const Iova limit = aperture().last;
  if (size_bytes == 0 || iova > limit) return 0;
  const Iova last = iova + std::min(size_bytes - 1, limit - iova);
  return walker_->Unmap({iova, last}, freed);
}

absl::optional<PageTranslation> PageTable::Translate(Iova iova) const {
  if (!aperture().Contains(iova)) return absl::nullopt;
  return walker_->Translate(iova);
}

std::vector<TableEntry> PageTable::PathTo(Iova iova) const {
  if (!aperture().Contains(iova)) return {};
  return walker_->PathTo(iova);
}

}  // namespace viommu
