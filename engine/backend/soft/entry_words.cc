#include "engine/backend/soft/entry_words.h"

#include "absl/strings/str_cat.h"

namespace viommu {
namespace {

std::string WordsIn(const TableEntryDump& entry) {
  std::string text;
  for (const uint64_t word : entry.words) {
    absl::StrAppend(&text, text.empty() ? "" : " ", Hex(word));
  }
  return text;
}

}  // namespace

std::string WhyOf(const TableEntryDump& entry, absl::string_view purpose) {
  std::string text = absl::StrCat(entry.table, " entry at ", Hex(entry.address.value));
  if (entry.in_stage1_as.has_value()) {
    absl::StrAppend(&text, " (guest ", Hex(*entry.in_stage1_as), ")");
  }
  if (entry.looks_up.has_value()) absl::StrAppend(&text, " for ", Hex(*entry.looks_up), purpose);
  absl::StrAppend(&text, ": ", entry.decoded, " (", WordsIn(entry), ")");
  return text;
}

}  // namespace viommu
