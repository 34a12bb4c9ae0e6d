#include "clients/viommuctl/table_image.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "zlib.h"

namespace viommu {
namespace {

constexpr absl::string_view kMagic = "VIOMMUTI";
constexpr uint32_t kVersion = 1;
constexpr uint32_t kHeaderBytes = 64;
constexpr uint64_t kGuestTablesLeftOut = 1;  // Of the image.
constexpr size_t kIdBytes = 64;
constexpr size_t kNameBytes = 16;
constexpr size_t kPageBytes = 4096;

absl::Status Lost(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the image that viommud sent is broken: ", what));
}

// "dmar0" of "iommus/dmar0".
absl::string_view IdOf(absl::string_view name) { return name.substr(name.find('/') + 1); }

}  // namespace

absl::Status TableImageWriter::Write(const v1::ExportTablesResponse& part) {
  if (part.has_summary() == begun_) return Lost("its parts are not in order");
  if (!begun_) {
    absl::Status begun = WriteHeader(part);
    if (!begun.ok()) return begun;
  }
  for (const v1::TableImageRequester& requester : part.requesters()) {
    if (++requesters_ > summary_.requester_count()) return Lost("too many requesters");
    const auto unit = unit_index_.find(requester.iommu());
    if (unit == unit_index_.end()) return Lost("a requester of no unit");
    PutText(IdOf(requester.device()), kIdBytes);
    Put32(unit->second);
    Put32(requester.source_id());
    Put32(requester.pasid_bits());
    Put32(0);
  }
  for (const v1::TableImagePage& page : part.pages()) {
    absl::Status written = WritePage(page);
    if (!written.ok()) return written;
  }
  return CheckStream();
}

absl::Status TableImageWriter::WriteHeader(const v1::ExportTablesResponse& first) {
  begun_ = true;
  summary_ = first.summary();
  Put(kMagic);
  Put32(kVersion);
  Put32(kHeaderBytes);
  Put64(summary_.guest_tables_left_out() ? kGuestTablesLeftOut : 0);
  Put32(static_cast<uint32_t>(summary_.unit_count()));
  Put32(static_cast<uint32_t>(summary_.register_count()));
  Put32(static_cast<uint32_t>(summary_.requester_count()));
  Put32(0);
  Put64(summary_.page_count());
  Put64(0);
  Put64(0);
  return WriteUnits(first);
}

absl::Status TableImageWriter::WriteUnits(const v1::ExportTablesResponse& part) {
  for (const v1::TableImageUnit& unit : part.units()) {
    unit_index_.emplace(unit.iommu(), static_cast<uint32_t>(unit_index_.size()));
    PutText(IdOf(unit.iommu()), kIdBytes);
    PutText(unit.architecture(), kNameBytes);
    Put32(unit.physical_address_bits());
    Put32(0);
  }
  for (const v1::TableImageRegister& one : part.registers()) {
    const auto unit = unit_index_.find(one.iommu());
    if (unit == unit_index_.end()) return Lost("a register of no unit");
    PutText(one.register_(), kNameBytes);
    Put32(unit->second);
    Put32(0);
    Put64(one.offset());
    Put64(one.value());
    ++registers_;
  }
  const bool complete =
      unit_index_.size() == summary_.unit_count() && registers_ == summary_.register_count();
  return complete ? absl::OkStatus() : Lost("not the units and registers that are announced");
}

absl::Status TableImageWriter::WritePage(const v1::TableImagePage& page) {
  if (requesters_ != summary_.requester_count()) return Lost("requesters are missing");
  if (++pages_ > summary_.page_count()) return Lost("too many pages");
  if (page.data().size() != kPageBytes || page.physical_address() % kPageBytes != 0) {
    return Lost("a page that is none");
  }
  if (page.physical_address() < next_page_) return Lost("pages out of order");
  next_page_ = page.physical_address() + kPageBytes;
  Put64(page.physical_address());
  Put(page.data());
  return absl::OkStatus();
}

absl::Status TableImageWriter::Finish() {
  const bool complete =
      begun_ && requesters_ == summary_.requester_count() && pages_ == summary_.page_count();
  if (!complete) return Lost("parts are missing");
  Put32(checksum_);
  out_.flush();
  return CheckStream();
}

void TableImageWriter::Put(absl::string_view bytes) {
  const auto* data = reinterpret_cast<const Bytef*>(bytes.data());
  checksum_ = static_cast<uint32_t>(crc32_z(checksum_, data, bytes.size()));
  out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

void TableImageWriter::PutText(absl::string_view text, size_t size) {
  std::string field(text.substr(0, std::min(text.size(), size)));
  field.resize(size, '\0');
  Put(field);
}

void TableImageWriter::Put32(uint32_t value) {
  std::string bytes;
  for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(value >> shift & 0xff);
  Put(bytes);
}

void TableImageWriter::Put64(uint64_t value) {
  Put32(static_cast<uint32_t>(value));
  Put32(static_cast<uint32_t>(value >> 32));
}

absl::Status TableImageWriter::CheckStream() const {
  return out_ ? absl::OkStatus() : absl::UnknownError("the file can not be written");
}

}  // namespace viommu
