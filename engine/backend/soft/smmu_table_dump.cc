#include "engine/backend/soft/smmu_table_dump.h"

#include <algorithm>
#include <cstddef>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/backend/soft/entry_words.h"
#include "engine/backend/soft/hardware/smmu_request.h"
#include "engine/backend/soft/hardware/smmu_trace.h"
#include "engine/entries/smmu_cd.h"
#include "engine/entries/smmu_named_fields.h"
#include "engine/entries/smmu_ste.h"
#include "engine/pagetable/arm_lpae_describe.h"

namespace viommu {
namespace {

using hardware::smmu::Event;
using hardware::smmu::EventClass;
using hardware::smmu::Trace;
using hardware::smmu::TraceStep;
using Table = TraceStep::Table;

constexpr uint64_t kWordBytes = sizeof(uint64_t);
constexpr size_t kSmallCdTable = 64;
constexpr int kLowestLevel = 3;
constexpr uint64_t kValid = uint64_t{1} << 0;
constexpr uint64_t kTableOrPage = uint64_t{1} << 1;

// "in words [Name=value ...]".
std::string Both(const std::string& words, const std::string& fields) {
  return fields.empty() ? words : absl::StrCat(words, " [", fields, "]");
}

// The stream table entry that a trace went through, which says how others are to be read.
smmu::Ste SteIn(const PhysicalMemory& memory, const Trace& trace) {
  for (const TraceStep& step : trace) {
    if (step.table == Table::kStream) return ReadWords<8>(memory, step.address);
  }
  return {};
}

size_t CdsPerTable(const smmu::Ste& ste) {
  return smmu::CdTableFormatOf(ste) == smmu::CdTableFormat::kTwoLevel4KiB ? kSmallCdTable
                                                                          : smmu::kCdL2Entries;
}

void FillConfiguration(const PhysicalMemory& memory, const smmu::Ste& ste, const TraceStep& step,
                       TableEntryDump* dump) {
  const uint64_t first = memory.Load64(step.address).value_or(0);
  const auto words = ReadWords<8>(memory, step.address);
  switch (step.table) {
    case Table::kStreamL1:
      dump->table = "l1std";
      dump->words = {first};
      dump->decoded =
          Both(smmu::DescribeStreamL1Descriptor(first), smmu::NameStreamL1Fields(first));
      return;
    case Table::kContextL1:
      dump->table = "l1cd";
      dump->words = {first};
      dump->decoded =
          Both(smmu::DescribeCdL1Descriptor(first, CdsPerTable(ste)), smmu::NameCdL1Fields(first));
      return;
    case Table::kContext:
      dump->table = "cd";
      dump->words.assign(words.begin(), words.end());
      dump->decoded = Both(smmu::DescribeCd(words), smmu::NameCdFields(words));
      return;
    default:
      dump->table = "ste";
      dump->words.assign(words.begin(), words.end());
      dump->decoded = Both(smmu::DescribeSte(words), smmu::NameSteFields(words));
      return;
  }
}

void FillDescriptor(const smmu::Ste& ste, const TraceStep& step, TableEntryDump* dump) {
  const bool first = step.table == Table::kStage1;
  const bool leaf = step.level == kLowestLevel || (step.word & kTableOrPage) == 0;
  const bool forced = (ste[1] & smmu::kSteS2ForceWriteBack) != 0;
  dump->table = absl::StrCat("stage-", first ? 1 : 2, " level ", step.level);
  dump->words = {step.word};
  dump->decoded = first ? DescribeArmStage1Entry(step.word, step.level, step.granule_shift)
                        : DescribeArmStage2Entry(step.word, step.level, step.granule_shift, forced);
  // The others are nobody's, unless it is valid.
  if ((step.word & kValid) != 0) {
    dump->decoded = Both(dump->decoded, first ? smmu::NameStage1Fields(step.word, leaf)
                                              : smmu::NameStage2Fields(step.word, leaf));
  }
  dump->stage = first ? TableStage::kStage1 : TableStage::kStage2;
  dump->level = step.level;
  dump->looks_up = step.input;
}

TableEntryDump Describe(const PhysicalMemory& memory, const smmu::Ste& ste, const TraceStep& step) {
  TableEntryDump dump;
  dump.address = step.address;
  dump.in_stage1_as = step.ipa;
  if (step.table == Table::kStage1 || step.table == Table::kStage2) {
    FillDescriptor(ste, step, &dump);
  } else {
    FillConfiguration(memory, ste, step, &dump);
  }
  return dump;
}

hardware::smmu::Translation Look(const DumpedStream& stream, Iova iova, bool write, Trace* trace) {
  hardware::smmu::Request request;
  request.stream_id = stream.stream_id;
  request.substream_id = stream.substream_id;
  request.address = iova;
  request.write = write;
  return stream.hardware.Explain(request, trace);
}

// The last step that `wanted` is true of.
template <typename Wanted>
const TraceStep* LastOf(const Trace& trace, Wanted wanted) {
  const auto found = std::find_if(trace.rbegin(), trace.rend(), wanted);
  return found == trace.rend() ? nullptr : &*found;
}

// The entry that refused the request; see smmu_trace.h. Null: refused before any was read.
const TraceStep* RefusedBy(const Trace& trace, const Event& event) {
  if (trace.empty()) return nullptr;
  if (event.id == hardware::smmu::kPermissionFault && !event.stage2) {
    const TraceStep* const user = LastOf(trace, [](const auto& s) { return s.denies_user; });
    if (user != nullptr) return user;
    const TraceStep* const write = LastOf(trace, [](const auto& s) { return s.denies_write; });
    if (write != nullptr) return write;
  }
  return &trace.back();
}

// What a descriptor of stage 2 was looked up for; empty without a stage 1.
absl::string_view PurposeOf(const TraceStep& step) {
  if (!step.nested) return "";
  switch (step.purpose) {
    case EventClass::kCd:
      return ", the guest's CD table";
    case EventClass::kTable:
      return step.marks ? ", to mark the guest's entry there" : ", a stage 1 table of the guest";
    case EventClass::kInput:
      return ", the guest's page";
  }
  return "";
}

// Who asked.
std::string StreamIn(const DumpedStream& stream) {
  std::string text = absl::StrCat("StreamID ", Hex(stream.stream_id));
  if (stream.substream_id.has_value()) {
    absl::StrAppend(&text, ", SubstreamID ", Hex(*stream.substream_id));
  }
  return text;
}

TranslationExplanation::Fault FaultOf(const DumpedStream& stream, const Trace& trace,
                                      const Event& event) {
  TranslationExplanation::Fault fault;
  fault.code = event.id;
  std::tie(fault.reason, fault.description) = NameAndWordsOf(event);
  const TraceStep* const by = RefusedBy(trace, event);
  if (by == nullptr) {
    fault.why = absl::StrCat(StreamIn(stream), ": refused before any table is read");
    return fault;
  }
  fault.entry = Describe(stream.memory, SteIn(stream.memory, trace), *by);
  fault.stage = fault.entry->stage;
  fault.level = fault.entry->level;
  fault.why = absl::StrCat(StreamIn(stream), ": ", WhyOf(*fault.entry, PurposeOf(*by)));
  return fault;
}

// What a unit says of a stage.
absl::string_view StageOf(const Event& event) { return event.stage2 ? "second" : "first"; }

std::string WordsOf(const Event& event) {
  switch (event.id) {
    case hardware::smmu::kBadStreamId:
      return "the stream table has no entry for the StreamID";
    case hardware::smmu::kSteFetch:
      return "no memory answers where the stream table is";
    case hardware::smmu::kBadSte:
      return "the stream table entry is not legal";
    case hardware::smmu::kStreamDisabled:
      return "requests of this kind are refused by the stream's configuration";
    case hardware::smmu::kBadSubstreamId:
      return "there is no context descriptor for the PASID";
    case hardware::smmu::kCdFetch:
      return "no memory answers where the context descriptor is";
    case hardware::smmu::kBadCd:
      return "the context descriptor is not valid";
    case hardware::smmu::kWalkAbort:
      return "no memory answers where a page table is";
    case hardware::smmu::kTranslationFault:
      return absl::StrCat("the ", StageOf(event), " stage has no entry for the address");
    case hardware::smmu::kAddressSizeFault:
      return absl::StrCat("an address is too wide in the ", StageOf(event), " stage");
    case hardware::smmu::kAccessFault:
      return absl::StrCat("an entry of the ", StageOf(event),
                          " stage is marked as not accessed yet");
    case hardware::smmu::kPermissionFault:
      return absl::StrCat("the ", StageOf(event), " stage does not permit the access");
    default:
      return "the unit could not translate";
  }
}

}  // namespace

std::vector<TableEntryDump> DumpPath(const DumpedStream& stream, Iova iova) {
  Trace read, write;
  Look(stream, iova, /*write=*/false, &read);
  Look(stream, iova, /*write=*/true, &write);
  const Trace& further = write.size() > read.size() ? write : read;
  const smmu::Ste ste = SteIn(stream.memory, further);
  std::vector<TableEntryDump> dumps;
  for (const TraceStep& step : further) dumps.push_back(Describe(stream.memory, ste, step));
  return dumps;
}

TranslationExplanation ExplainPath(const DumpedStream& stream, Iova iova, bool write) {
  Trace trace;
  const hardware::smmu::Translation translation = Look(stream, iova, write, &trace);
  TranslationExplanation explanation;
  if (!translation.ok()) {
    explanation.fault = FaultOf(stream, trace, translation.fault);
    return explanation;
  }
  explanation.physical = translation.physical;
  explanation.page_bytes = std::max(TableImage::kPageBytes, uint64_t{1} << translation.page_shift);
  const PhysAddr word{translation.physical.value & ~(kWordBytes - 1)};
  if (!stream.memory.Load64(word).has_value()) {
    explanation.fault = FaultOf(stream, trace, translation.fault);
    explanation.fault->reason = "NO_MEMORY";
    explanation.fault->description =
        absl::StrCat("no memory answers at ", Hex(translation.physical.value));
  }
  return explanation;
}

std::pair<std::string, std::string> NameAndWordsOf(const Event& event) {
  if (event.terminated) return {"ABORTED", "the stream table entry aborts every request"};
  return {hardware::smmu::EventName(event.id), WordsOf(event)};
}

}  // namespace viommu
