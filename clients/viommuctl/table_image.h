// clients/viommuctl/table_image.h -- Writes the image of a host's tables as a file, in the format
// of docs/TABLE_IMAGE.md.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_TABLE_IMAGE_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_TABLE_IMAGE_H_

#include <cstdint>
#include <map>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "viommu/v1/simulation.pb.h"

namespace viommu {

// Thread-compatible.
class TableImageWriter {
 public:
  // `out`, a binary stream at its start, outlives it.
  explicit TableImageWriter(std::ostream* out) : out_(*out) {}

  // The answers of ExportTables, in their order. No memory is kept.
  // kDataLoss: it is not the part that is due, or not what the first one announced.
  // kUnknown: the stream does not take it.
  absl::Status Write(const v1::ExportTablesResponse& part);
  // The checksum. kDataLoss: parts are missing. kUnknown, as Write.
  absl::Status Finish();

  const v1::TableImageSummary& summary() const { return summary_; }

 private:
  absl::Status WriteHeader(const v1::ExportTablesResponse& first);
  absl::Status WriteUnits(const v1::ExportTablesResponse& part);
  absl::Status WritePage(const v1::TableImagePage& page);
  // Appends to the file. Text is cut or filled up with zeros to `size`.
  void Put(absl::string_view bytes);
  void PutText(absl::string_view text, size_t size);
  void Put32(uint32_t value);
  void Put64(uint64_t value);
  absl::Status CheckStream() const;

  std::ostream& out_;
  uint32_t checksum_ = 0;
  bool begun_ = false;
  v1::TableImageSummary summary_;
  std::map<std::string, uint32_t> unit_index_;  // By "iommus/{id}".
  uint64_t registers_ = 0, requesters_ = 0, pages_ = 0;
  uint64_t next_page_ = 0;  // Addresses ascend: none below comes any more.
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_TABLE_IMAGE_H_
