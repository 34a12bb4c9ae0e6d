#include "engine/backend/soft/table_dump.h"

#include <algorithm>
#include <cstddef>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/backend/soft/entry_words.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_trace.h"
#include "engine/entries/vtd_entries.h"

namespace viommu {
namespace {

using hardware::Trace;
using hardware::TraceStep;

constexpr uint64_t kWordBytes = sizeof(uint64_t);
constexpr uint64_t kPageSize = uint64_t{1} << 7;         // Of both stages, above level 1.
constexpr uint64_t kFirstStageWrite = uint64_t{1} << 1;  // R/W
constexpr uint64_t kFirstStageUser = uint64_t{1} << 2;   // U/S

template <size_t kWords, typename Describe>
void Fill(const PhysicalMemory& memory, absl::string_view table, Describe describe,
          TableEntryDump* dump) {
  const auto words = ReadWords<kWords>(memory, dump->address);
  dump->table = std::string(table);
  dump->words.assign(words.begin(), words.end());
  dump->decoded = describe(words);
}

void FillPageTableEntry(const TraceStep& step, TableEntryDump* dump) {
  const bool first = step.table == TraceStep::Table::kFirstStage;
  dump->table = absl::StrCat(first ? "first" : "second", "-stage level ", step.level);
  dump->words = {step.word};
  dump->decoded = first ? vtd::DescribeFirstStageEntry(step.word, step.level)
                        : vtd::DescribeSecondStageEntry(step.word, step.level);
  dump->stage = first ? TableStage::kStage1 : TableStage::kStage2;
  dump->level = step.level;
  dump->looks_up = step.input;
  dump->in_stage1_as = step.guest_address;
}

TableEntryDump Describe(const PhysicalMemory& memory, const TraceStep& step) {
  TableEntryDump dump;
  dump.address = step.address;
  switch (step.table) {
    case TraceStep::Table::kRoot:
      Fill<1>(
          memory, "root", [](const auto& w) { return vtd::DescribeRootHalf(w[0]); }, &dump);
      break;
    case TraceStep::Table::kContext:
      Fill<4>(memory, "context", vtd::DescribeContextEntry, &dump);
      break;
    case TraceStep::Table::kPasidDirectory:
      Fill<1>(
          memory, "pasid-directory",
          [](const auto& w) { return vtd::DescribePasidDirectoryEntry(w[0]); }, &dump);
      break;
    case TraceStep::Table::kPasid:
      Fill<8>(memory, "pasid", vtd::DescribePasidEntry, &dump);
      break;
    case TraceStep::Table::kFirstStage:
    case TraceStep::Table::kSecondStage:
      FillPageTableEntry(step, &dump);
      break;
  }
  return dump;
}

hardware::Translation Look(const DumpedRequester& requester, Iova iova, bool write, Trace* trace) {
  hardware::Request request;
  request.source_id = requester.source_id;
  request.pasid = requester.pasid;
  request.address = iova;
  request.write = write;
  return requester.hardware.Explain(request, trace);
}

// The last step of the first stage that `wanted` is true of.
template <typename Wanted>
const TraceStep* LastOfFirstStage(const Trace& trace, Wanted wanted) {
  const auto found = std::find_if(trace.rbegin(), trace.rend(), [&](const TraceStep& step) {
    return step.table == TraceStep::Table::kFirstStage && wanted(step);
  });
  return found == trace.rend() ? nullptr : &*found;
}

// The entry that refused the request. Rights of a first stage are those of all its levels together,
// judged at the leaf: the lowest entry without the right counts. Null: refused before any was read.
const TraceStep* RefusedBy(const Trace& trace, uint8_t reason) {
  if (trace.empty()) return nullptr;
  const TraceStep& last = trace.back();
  const bool in_first_stage = last.table == TraceStep::Table::kFirstStage;
  if (reason == hardware::kUserDenied) {
    return LastOfFirstStage(trace, [](const auto& s) { return !(s.word & kFirstStageUser); });
  }
  if (reason == hardware::kWriteDenied && in_first_stage) {
    return LastOfFirstStage(trace, [](const auto& s) { return !(s.word & kFirstStageWrite); });
  }
  if (reason == hardware::kFirstUpdateNotSnooped) {
    return LastOfFirstStage(trace, [](const auto&) { return true; });
  }
  return &last;
}

// What a second-stage entry of a nested walk was looked up for; empty without nesting. `step` is
// one of the trace's.
std::string PurposeOf(const Trace& trace, const TraceStep& step) {
  if (!step.nested) return "";
  const TraceStep* above = nullptr;
  for (const TraceStep& earlier : trace) {
    if (&earlier == &step) break;
    if (earlier.table == TraceStep::Table::kFirstStage) above = &earlier;
  }
  if (above == nullptr) return ", the guest's top stage 1 table";
  if (above->guest_address == step.input) return ", to mark the guest's entry there";
  const bool leaf = above->level == 1 || (above->word & kPageSize) != 0;
  return leaf ? ", the guest's page"
              : absl::StrCat(", the guest's stage 1 table of level ", above->level - 1);
}

TranslationExplanation::Fault FaultOf(const DumpedRequester& requester, const Trace& trace,
                                      uint8_t reason) {
  TranslationExplanation::Fault fault;
  fault.code = reason;
  std::tie(fault.reason, fault.description) = SplitFaultName(reason);
  const TraceStep* const by = RefusedBy(trace, reason);
  if (by == nullptr) {
    fault.why = "refused before any table is read";
    return fault;
  }
  fault.entry = Describe(requester.memory, *by);
  fault.stage = fault.entry->stage;
  fault.level = fault.entry->level;
  const bool second = by->table == TraceStep::Table::kSecondStage;
  fault.why = WhyOf(*fault.entry, second ? PurposeOf(trace, *by) : "");
  return fault;
}

TranslationExplanation::Fault NoMemory(const DumpedRequester& requester, const Trace& trace,
                                       PhysAddr physical) {
  TranslationExplanation::Fault fault = FaultOf(requester, trace, hardware::kNoFault);
  fault.reason = "NO_MEMORY";
  fault.description = absl::StrCat("no memory answers at ", Hex(physical.value));
  return fault;
}

}  // namespace

std::vector<TableEntryDump> DumpPath(const DumpedRequester& requester, Iova iova) {
  Trace read, write;
  Look(requester, iova, /*write=*/false, &read);
  Look(requester, iova, /*write=*/true, &write);
  std::vector<TableEntryDump> dumps;
  for (const TraceStep& step : write.size() > read.size() ? write : read) {
    dumps.push_back(Describe(requester.memory, step));
  }
  return dumps;
}

TranslationExplanation ExplainPath(const DumpedRequester& requester, Iova iova, bool write) {
  Trace trace;
  const hardware::Translation translation = Look(requester, iova, write, &trace);
  TranslationExplanation explanation;
  if (!translation.ok()) {
    explanation.fault = FaultOf(requester, trace, translation.fault_reason);
    return explanation;
  }
  explanation.interrupt_message = translation.is_interrupt;
  if (translation.is_interrupt) return explanation;
  explanation.physical = translation.physical;
  explanation.page_bytes = std::max(TableImage::kPageBytes, uint64_t{1} << translation.page_shift);
  const PhysAddr word{translation.physical.value & ~(kWordBytes - 1)};
  if (!requester.memory.Load64(word).has_value()) {
    explanation.fault = NoMemory(requester, trace, translation.physical);
  }
  return explanation;
}

std::pair<std::string, std::string> SplitFaultName(uint8_t code) {
  const absl::string_view name = hardware::FaultReasonName(code);
  const size_t colon = name.find(": ");
  if (colon == absl::string_view::npos) return {std::string(name), std::string(name)};
  return {std::string(name.substr(0, colon)), std::string(name.substr(colon + 2))};
}

}  // namespace viommu
