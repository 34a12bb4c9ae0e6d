#include "engine/backend/soft/hardware/smmu_translator.h"

#include "engine/backend/soft/hardware/smmu_stage1.h"
#include "engine/backend/soft/hardware/smmu_stage2.h"

namespace viommu::hardware::smmu {
namespace {

constexpr int kPageShift = 12;

// S1DSS
constexpr int kBypassesStage1 = 1;
constexpr int kUsesContext0 = 2;

Event EventOf(const Request& request, EventId id) {
  Event event;
  event.id = id;
  event.stream_id = request.stream_id;
  event.substream_id = request.substream_id;
  event.privileged = request.privileged;
  event.instruction = request.instruction;
  event.read = !request.write;
  event.address = request.address;
  return event;
}

Event EventOf(const Request& request, const Fault& fault) {
  Event event = EventOf(request, fault.id);
  event.stage2 = fault.stage2;
  event.event_class = fault.event_class;
  event.second_address = fault.second_address;
  event.table_read = fault.table_read;
  return event;
}

// Ended without an event.
Event Terminated(const Request& request) {
  Event event = EventOf(request, kNoEvent);
  event.terminated = true;
  event.recorded = false;
  return event;
}

Translation Refused(const Event& event) {
  Translation translation;
  translation.fault = event;
  return translation;
}

Translation Granted(const Request& request, const Leaf& leaf) {
  Translation translation;
  const uint64_t offset = request.address & (Bit(leaf.shift) - 1);
  translation.physical = leaf.page + offset;
  translation.size_bytes = Bit(leaf.shift) - offset;
  translation.page_shift = leaf.shift;
  const Permissions& own = request.privileged ? leaf.privileged : leaf.user;
  translation.read = own.read && leaf.stage2.read;
  translation.write = own.write && leaf.stage2.write && leaf.dirty;
  return translation;
}

// Where a request goes that no stage translates.
Leaf Identity(uint64_t address) {
  Leaf leaf;
  leaf.page = PhysAddr{address >> kPageShift << kPageShift};
  return leaf;
}

// What the configuration of the stage that a fault came from says of it (5.5). An address that is
// too large for a stage which is bypassed belongs to none.
void Configure(const Walk& walk, Event* event) {
  if (!MayStall(event->id) || (!event->stage2 && walk.context == nullptr)) return;
  event->stalled = event->stage2 ? walk.stream.stage2_stalls : walk.context->stalls;
  const bool records = event->stage2 ? walk.stream.stage2_records : walk.context->records;
  event->recorded = event->stalled || records;
  event->reads_zero = !event->stage2 && !event->stalled && !walk.context->aborts;
}

}  // namespace

ConfigLookup Translator::LookupFor(const Registers& registers, WarmState* warm) const {
  if (warm == nullptr) return {spec_, memory_, registers};
  return {spec_, memory_, registers, &warm->config, &warm->counters};
}

Walk Translator::WalkFor(const Registers& registers, const Request& request,
                         const StreamEntry& stream, WalkMode mode, WarmState* warm) const {
  Walk walk = {spec_, memory_, stream};
  walk.write = request.write;
  walk.privileged = request.privileged;
  walk.instruction = request.instruction;
  walk.one_privilege = stream.el2 && !registers.e2h();
  walk.mode = mode;
  if (warm == nullptr) return walk;
  walk.tlb = stream.el2 ? &warm->tlb.el2() : &warm->tlb.el1(stream.vmid);
  walk.counters = &warm->counters;
  return walk;
}

// Which context descriptor a request uses, or that it bypasses stage 1.
Fault Translator::SelectContext(const Request& request, const StreamEntry& stream, bool* bypass,
                                uint32_t* index) const {
  *bypass = !stream.stage1;
  *index = 0;
  if (request.substream_id.has_value()) {
    const uint32_t substream = *request.substream_id;
    if (!stream.stage1 || stream.context_log2 == 0 || (substream >> stream.context_log2) != 0) {
      return Fault{kBadSubstreamId};
    }
    if (substream == 0 && stream.default_substream == kUsesContext0) return Fault{kStreamDisabled};
    *index = substream;
    return Fault{};
  }
  if (!stream.stage1 || stream.context_log2 == 0) return Fault{};
  *bypass = stream.default_substream == kBypassesStage1;
  const bool passes = *bypass || stream.default_substream == kUsesContext0;
  return passes ? Fault{} : Fault{kStreamDisabled};
}

Fault Translator::FindLeaf(const Walk& walk, const Request& request, Leaf* leaf) const {
  if (walk.context != nullptr) {
    bool hit = false;
    const Fault fault = TranslateStage1(walk, request.address, leaf, &hit);
    if (walk.counters != nullptr) ++(hit ? walk.counters->tlb_hits : walk.counters->tlb_misses);
    return fault;
  }
  if (BeyondOutput(request.address)) return Fault{kAddressSizeFault};
  if (!walk.stream.stage2) {
    *leaf = Identity(request.address);
    return Fault{};
  }
  const Stage2Access access = {EventClass::kInput, request.write, request.instruction};
  const bool hit = walk.tlb != nullptr && walk.tlb->FindStage2(request.address) != nullptr;
  if (walk.counters != nullptr) ++(hit ? walk.counters->tlb_hits : walk.counters->tlb_misses);
  return TranslateStage2(walk, request.address, access, leaf);
}

Fault Translator::Resolve(const ConfigLookup& lookup, const Request& request, Walk* walk,
                          ContextEntry* context, Leaf* leaf) const {
  bool bypass = false;
  uint32_t index = 0;
  Fault fault = SelectContext(request, walk->stream, &bypass, &index);
  if (!fault.none()) return fault;
  if (!bypass) {
    fault = FindContext(lookup, *walk, request.stream_id, index, context);
    if (!fault.none()) return fault;
    walk->context = context;
  }
  return FindLeaf(*walk, request, leaf);
}

Translation Translator::Untranslated(const Registers& registers, const Request& request,
                                     WalkMode mode, WarmState* warm, Trace* trace) const {
  if (!registers.enabled()) {
    if (registers.aborts_disabled() || BeyondOutput(request.address)) {
      return Refused(Terminated(request));
    }
    return Granted(request, Identity(request.address));
  }
  ConfigLookup lookup = LookupFor(registers, warm);
  lookup.trace = trace;
  StreamEntry stream;
  Fault fault = FindStream(lookup, request.stream_id, &stream);
  if (!fault.none()) {
    Event event = EventOf(request, fault);
    event.recorded = fault.id != kBadStreamId || registers.records_bad_streams();
    return Refused(event);
  }
  if (stream.aborts) return Refused(Terminated(request));
  Walk walk = WalkFor(registers, request, stream, mode, warm);
  walk.trace = trace;
  ContextEntry context;
  Leaf leaf;
  fault = Resolve(lookup, request, &walk, &context, &leaf);
  if (fault.none()) return Granted(request, leaf);
  Event event = EventOf(request, fault);
  Configure(walk, &event);
  return Refused(event);
}

// A translation request: what would fault is answered with fewer permissions or none, and never an
// event but that there is no ATS for the stream (3.9.1.2).
Translation Translator::Asked(const Registers& registers, const Request& request, WalkMode mode,
                              WarmState* warm) const {
  if (!registers.enabled()) return Refused(EventOf(request, kBadAtsTranslationRequest));
  const ConfigLookup lookup = LookupFor(registers, warm);
  StreamEntry stream;
  if (!FindStream(lookup, request.stream_id, &stream).none()) return Refused(Terminated(request));
  if (stream.aborts) return Refused(Terminated(request));
  if (!stream.full_ats) return Refused(EventOf(request, kBadAtsTranslationRequest));
  Request attempt = request;
  while (true) {
    Walk walk = WalkFor(registers, attempt, stream, mode, warm);
    ContextEntry context;
    Leaf leaf;
    const Fault fault = Resolve(lookup, attempt, &walk, &context, &leaf);
    if (fault.none()) return Granted(attempt, leaf);
    if (!MayStall(fault.id)) return Refused(Terminated(request));
    if (fault.id != kPermissionFault || !attempt.write) return Translation{};
    attempt.write = false;
  }
}

Translation Translator::Translated(const Registers& registers, const Request& request,
                                   WarmState* warm) const {
  if (!registers.enabled()) return Refused(EventOf(request, kTranslatedForbidden));
  if (registers.checks_translated()) {
    StreamEntry stream;
    const Fault fault = FindStream(LookupFor(registers, warm), request.stream_id, &stream);
    if (!fault.none() || stream.aborts) return Refused(Terminated(request));
    if (!stream.full_ats) return Refused(EventOf(request, kTranslatedForbidden));
  }
  if (BeyondOutput(request.address)) return Refused(Terminated(request));
  return Granted(request, Identity(request.address));
}

Translation Translator::Translate(const Registers& registers, const Request& request, WalkMode mode,
                                  WarmState* warm, Trace* trace) const {
  switch (request.type) {
    case AddressType::kTranslationRequest:
      return Asked(registers, request, mode, warm);
    case AddressType::kTranslated:
      return Translated(registers, request, warm);
    case AddressType::kUntranslated:
      break;
  }
  return Untranslated(registers, request, mode, warm, trace);
}

void Translator::Prefetch(const Registers& registers, uint32_t stream_id, WarmState* warm) const {
  StreamEntry stream;
  if (registers.enabled()) FindStream(LookupFor(registers, warm), stream_id, &stream);
}

std::optional<bool> Translator::FindResponsePasid(const Registers& registers, uint32_t stream_id,
                                                  WarmState* warm) const {
  StreamEntry stream;
  if (!FindStream(LookupFor(registers, warm), stream_id, &stream).none()) return std::nullopt;
  return stream.response_pasid;
}

}  // namespace viommu::hardware::smmu
