// engine/backend/soft/entry_words.h -- What dumps of tables of all architectures have in common:
// the words of an entry, and the sentence that says what an entry is for, where it lies and what it
// says.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_ENTRY_WORDS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_ENTRY_WORDS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/table_view.h"
#include "engine/base/address.h"

namespace viommu {

// As they are now, one after the other; 0 where nothing answers.
template <size_t kWords>
std::array<uint64_t, kWords> ReadWords(const PhysicalMemory& memory, PhysAddr address) {
  std::array<uint64_t, kWords> words;
  for (size_t i = 0; i < kWords; ++i) {
    words[i] = memory.Load64(address + i * sizeof(uint64_t)).value_or(0);
  }
  return words;
}

// `purpose` follows the address that is looked up, of an entry that has one.
std::string WhyOf(const TableEntryDump& entry, absl::string_view purpose);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_ENTRY_WORDS_H_
