#include "server/describe_tables.h"

#include <cstddef>
#include <vector>

#include "engine/base/address.h"
#include "server/names.h"

namespace viommu {
namespace {

v1::TableStage ToProto(TableStage stage) {
  switch (stage) {
    case TableStage::kConfiguration:
      return v1::TABLE_STAGE_CONFIGURATION;
    case TableStage::kStage1:
      return v1::TABLE_STAGE_1;
    case TableStage::kStage2:
      return v1::TABLE_STAGE_2;
  }
  return v1::TABLE_STAGE_UNSPECIFIED;
}

v1::TranslationFault DescribeFault(const TranslationExplanation::Fault& fault) {
  v1::TranslationFault out;
  out.set_code(fault.code);
  out.set_reason(fault.reason);
  out.set_description(fault.description);
  out.set_why(fault.why);
  if (!fault.entry.has_value()) return out;
  out.set_stage(ToProto(fault.stage));
  out.set_level(fault.level);
  *out.mutable_entry() = Describe(*fault.entry);
  return out;
}

v1::ExportTablesResponse DescribeFirstPart(const TableImage& image) {
  v1::ExportTablesResponse part;
  v1::TableImageSummary& summary = *part.mutable_summary();
  summary.set_unit_count(image.units.size());
  summary.set_register_count(image.registers.size());
  summary.set_requester_count(image.requesters.size());
  summary.set_page_count(image.pages.size());
  summary.set_guest_tables_left_out(!image.complete);
  for (const TableImage::Unit& unit : image.units) {
    v1::TableImageUnit& out = *part.add_units();
    out.set_iommu(HostName(NameKind::kIommu, unit.iommu));
    out.set_architecture(unit.architecture);
    out.set_physical_address_bits(unit.physical_address_bits);
  }
  for (const TableImage::Register& one : image.registers) {
    v1::TableImageRegister& out = *part.add_registers();
    out.set_iommu(HostName(NameKind::kIommu, one.iommu));
    out.set_register_(one.name);
    out.set_offset(one.offset);
    out.set_value(one.value);
  }
  return part;
}

void Append(const TableImage::Requester& requester, v1::ExportTablesResponse* part) {
  v1::TableImageRequester& out = *part->add_requesters();
  out.set_device(HostName(NameKind::kDevice, requester.device));
  out.set_iommu(HostName(NameKind::kIommu, requester.iommu));
  out.set_source_id(requester.source_id);
  out.set_pasid_bits(requester.pasid_bits);
}

void Append(const TableImage::MemoryPage& page, v1::ExportTablesResponse* part) {
  v1::TableImagePage& out = *part->add_pages();
  out.set_physical_address(page.address.value);
  out.set_data(page.words->data(), TableImage::kPageBytes);
}

// All of `items`, up to `limit` in each answer.
template <typename Item>
bool TakeAll(const std::vector<Item>& items, size_t limit,
             absl::FunctionRef<bool(const v1::ExportTablesResponse&)> take) {
  for (size_t first = 0; first < items.size(); first += limit) {
    v1::ExportTablesResponse part;
    for (size_t i = first; i < items.size() && i - first < limit; ++i) Append(items[i], &part);
    if (!take(part)) return false;
  }
  return true;
}

}  // namespace

v1::TableEntry Describe(const TableEntryDump& entry) {
  v1::TableEntry out;
  out.set_table(entry.table);
  out.set_physical_address(entry.address.value);
  out.set_physical_address_text(Hex(entry.address.value));
  for (const uint64_t word : entry.words) {
    out.add_words(word);
    out.add_words_text(Hex(word));
  }
  out.set_decoded(entry.decoded);
  out.set_stage(ToProto(entry.stage));
  out.set_level(entry.level);
  if (entry.looks_up.has_value()) {
    out.set_input_address(*entry.looks_up);
    out.set_input_address_text(Hex(*entry.looks_up));
  }
  if (entry.in_stage1_as.has_value()) {
    out.set_guest_address(*entry.in_stage1_as);
    out.set_guest_address_text(Hex(*entry.in_stage1_as));
  }
  return out;
}

v1::TranslationExplanation Describe(const TranslationExplanation& explanation) {
  v1::TranslationExplanation out;
  if (explanation.fault.has_value()) {
    *out.mutable_fault() = DescribeFault(*explanation.fault);
  } else if (explanation.interrupt_message) {
    out.mutable_interrupt_message();
  } else {
    v1::TranslatedAddress& translated = *out.mutable_translated();
    translated.set_physical_address(explanation.physical.value);
    translated.set_physical_address_text(Hex(explanation.physical.value));
    translated.set_page_size_bytes(explanation.page_bytes);
  }
  return out;
}

void DescribeInParts(const TableImage& image,
                     absl::FunctionRef<bool(const v1::ExportTablesResponse&)> take) {
  if (!take(DescribeFirstPart(image))) return;
  if (!TakeAll(image.requesters, kRequestersInPart, take)) return;
  TakeAll(image.pages, kPagesInPart, take);
}

}  // namespace viommu
