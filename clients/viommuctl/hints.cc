#include "clients/viommuctl/hints.h"

#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "clients/viommuctl/command.h"
#include "clients/viommuctl/kinds.h"

namespace viommu {
namespace {

// {object}, {kind} and {kinds}: what the error is about. {LIMIT}: the limit that was met. {IOAS},
// {DEVICE}: the argument of the command with this name, or the word itself. {SOURCE}: the IO
// address space that is read from.
struct Hint {
  absl::string_view reason;
  absl::string_view text;
};
constexpr Hint kHints[] = {
    {"ALREADY_ATTACHED",
     "viommuctl replace {object} DOMAIN moves it; viommuctl detach {object} frees it"},
    {"CONFLICTING_FIELDS", "leave one of them out"},
    {"DEVICE_CLAIMED",
     "viommuctl get device {object} shows who has it; viommuctl release {object} "
     "gives it back"},
    {"DEVICE_IN_RESET", "try again: a reset ends by itself"},
    {"DEVICE_NOT_CLAIMED", "viommuctl claim {object}"},
    {"DEVICE_UNHEALTHY", "viommuctl describe device {object} says why"},
    {"DIRECTORY_EXISTS", "remove what is there, or choose another owner"},
    {"DIRECT_REGION",
     "viommuctl reserved-regions {object} shows the memory that must stay mapped; "
     "the device can only be used by the host"},
    {"DOMAIN_IDS_EXHAUSTED", "attach to a domain that the IOMMU already has, or detach another"},
    {"DRAINING", "the server is about to stop; try again when it is back"},
    {"ETAG_MISMATCH",
     "look at it again, and take the new etag: viommuctl get {kind} {object} "
     "-o json"},
    {"FAULT_GROUP_LIMIT",
     "delete a fault queue that is not needed, or raise --owner_max_fault_groups of viommud"},
    {"FAULT_NOT_FOUND", "viommuctl faults list {object} shows what waits for an answer"},
    {"FAULT_QUEUE_UNAVAILABLE",
     "viommuctl describe device {object} shows whether it has page requests (ATS and PRI)"},
    {"GROUP_MISMATCH",
     "attach all devices of the group to one domain, or first: viommuctl detach "
     "{object}"},
    {"HOST_MAPPINGS", "undo each with: viommuctl host-unmap {object} --iova ADDRESS --size SIZE"},
    {"IDENTITY_NOT_ALLOWED",
     "the topology must allow it (allow_identity), and the device must be "
     "trusted; viommuctl describe device {object} shows both"},
    {"IDENTITY_UNAVAILABLE", "viommuctl list iommus shows which default domains each one has"},
    {"IN_FLIGHT_LIMIT", "try again: what is under way ends by itself"},
    {"INCOMPATIBLE_DOMAIN",
     "make one for this device: viommuctl create domain ID --ioas IOAS "
     "--device {DEVICE}"},
    {"INVALID_NUMA_NODE", "viommuctl list iommus shows the nodes of this host"},
    {"INVALID_SIZE", "write a multiple of 4K; viommuctl get host shows the largest"},
    {"IOVA_CONFLICT",
     "viommuctl mappings IOAS shows what is mapped; viommuctl reserved-regions "
     "DEVICE what must not be"},
    {"IOVA_EXHAUSTED",
     "viommuctl iova-ranges {IOAS} shows what can be mapped; viommuctl mappings "
     "{IOAS} what is"},
    {"IOVA_NOT_COVERED", "viommuctl mappings {SOURCE} shows what is mapped"},
    {"IOVA_OCCUPIED",
     "viommuctl mappings {IOAS} shows what is mapped; without --iova a free "
     "address is chosen"},
    {"IOVA_RESERVED",
     "viommuctl iova-ranges {IOAS} shows what can be mapped; without --iova a "
     "free address is chosen"},
    {"JOURNAL_FAILED", "look at viommud's log; nothing was changed"},
    {"LARGE_PAGES_IN_USE",
     "first: viommuctl unmap {object} --all, or delete the domains that viommuctl get ioas "
     "{object} -o json lists"},
    {"LARGE_PAGES_NOT_ALLOWED", "viommuctl create ioas ID --mode vfio-type1v2 has them"},
    {"LISTENERS_UNAVAILABLE", "start viommud with --listener_dir"},
    {"MALFORMED_NAME",
     "an id has 1 to 63 of a-z, 0-9, '.', '_', '-', and begins and ends with a "
     "letter or digit"},
    {"MAPPED_BYTES_LIMIT",
     "viommuctl list ioas shows what is mapped; unmap something, or raise "
     "--owner_max_mapped_bytes of viommud"},
    {"MAPPING_LIMIT",
     "viommuctl list ioas shows how many there are; map in larger pieces, or raise "
     "--owner_max_mappings of viommud"},
    {"MAPPING_SUSPENDED", "viommuctl mappings {IOAS} shows it; unmap it and map it again"},
    {"MISALIGNED", "write multiples of the alignment; viommuctl get ioas {IOAS} shows it"},
    {"NOT_ATTACHED", "viommuctl attach {object} DOMAIN"},
    {"NOT_OPERATOR", "ask an operator of this host"},
    {"OBJECT_LIMIT", "delete one that is not needed, or raise --owner_{LIMIT} of viommud"},
    {"PASIDS_EXHAUSTED", "viommuctl pasids list {DEVICE} shows which are taken"},
    {"PASID_EXISTS", "viommuctl pasids list {DEVICE} shows which are taken"},
    {"PASID_INCOMPATIBLE", "only domains that were made for PASIDs serve one, or stand beside one"},
    {"PASID_LIMIT", "free one that is not needed, or raise --owner_max_pasids of viommud"},
    {"PASID_NOT_FOUND", "viommuctl pasids list {DEVICE} shows which are taken"},
    {"PASID_OUT_OF_RANGE", "viommuctl describe device {DEVICE} shows how many bits a PASID has"},
    {"PASID_TAKEN", "viommuctl pasids list {DEVICE} shows which are taken, and by whom"},
    {"PASID_UNAVAILABLE", "viommuctl describe device {object} shows its PASID bits"},
    {"PHYSICAL_MEMORY_EXHAUSTED", "viommuctl list regions shows what takes the memory"},
    {"REGION_BYTES_LIMIT",
     "viommuctl list regions shows what takes the memory; delete one, or raise "
     "--owner_max_region_bytes_total of viommud"},
    {"REGION_READ_ONLY", "map it with --permission r"},
    {"REGION_SUSPENDED", "its memory is gone: viommuctl create region makes another"},
    {"REQUEST_ID_REUSED", "choose another --request-id, or leave it out"},
    {"RESET_FAILED", "viommuctl reset {object} tries again"},
    {"SIMULATION_NOT_AVAILABLE",
     "only the backend \"soft\" has this; viommuctl get host shows "
     "which one runs"},
    {"SOURCE_OUT_OF_BOUNDS", "viommuctl list regions shows the sizes"},
    {"STATIC_DOMAIN", "identity and blocked are always there"},
    {"STREAM_LIMIT", "close a mapping stream, or raise --owner_max_streams of viommud"},
    {"TABLE_MEMORY_EXHAUSTED", "map in larger pieces, or unmap something"},
    {"TOO_MANY_CALLS", "try again: the calls that run end by themselves"},
    {"TOO_MANY_LISTENERS",
     "viommuctl list listeners shows them; delete one, or raise --max_listeners of viommud"},
    {"TOO_MANY_STREAMS", "close a mapping stream, or raise --max_streams of viommud"},
};

// How viommud names what the host has mapped for a device.
constexpr absl::string_view kHostMappingsOf = "host mappings of group ";

constexpr Hint kHintsByCode[] = {
    {"UNAVAILABLE",
     "is viommud running? Start it with ./dev run, or say where it listens with "
     "--target or VIOMMU_TARGET"},
    {"DEADLINE_EXCEEDED", "--timeout gives it longer; get or list show whether it was done"},
    {"UNIMPLEMENTED", "viommuctl get host shows which viommud runs"},
};

// Where what the other tables say would be beside the point of one command.
struct CommandHint {
  absl::string_view reason;  // Or the code.
  absl::string_view command;
  absl::string_view text;
};
constexpr CommandHint kHintsByCommand[] = {
    {"DEVICE_NOT_CLAIMED", "detach", "viommuctl get device {object} shows who has it"},
    {"DEVICE_NOT_CLAIMED", "release", "viommuctl get device {object} shows who has it"},
    {"MISALIGNED", "host-map", "write multiples of 4K"},
    {"MISALIGNED", "host-unmap", "write multiples of 4K"},
    {"UNAVAILABLE", "top",
     "is viommud running, and does it serve metrics? --target says where it listens, --metrics "
     "where its metrics are"},
    {"DEADLINE_EXCEEDED", "top", "--timeout gives it longer"},
};

// Of a change that may have arrived before its caller was left without an answer.
constexpr char kMayBeDone[] =
    "the change may have been made; get or list show it, --request-id makes a repetition safe";

absl::string_view TextFor(absl::string_view key, const Hint* begin, const Hint* end) {
  for (const Hint* hint = begin; hint != end; ++hint) {
    if (hint->reason == key) return hint->text;
  }
  return "";
}

// What of the command alone is known to be wrong; empty: nothing.
absl::string_view TextForCommand(absl::string_view reason, const CommandLine& line) {
  if (line.command == nullptr) return "";
  for (const CommandHint& hint : kHintsByCommand) {
    if (hint.reason == reason && hint.command == line.command->name) return hint.text;
  }
  return "";
}

// How a referrer is taken out of the way; empty when it is not known.
std::string FreeingCommand(absl::string_view subject) {
  absl::string_view group = subject;
  if (absl::ConsumePrefix(&group, kHostMappingsOf)) {
    return absl::StrCat("viommuctl list devices shows which devices the group ", group,
                        " has; then viommuctl host-unmap DEVICE --iova ADDRESS --size SIZE");
  }
  const std::string name = ShortName(subject);
  switch (KindOf(subject)) {
    case Kind::kDevice:
      return absl::StrCat("viommuctl detach ", name);
    case Kind::kDomain:
      return absl::StrCat("viommuctl delete domain ", name);
    case Kind::kFaultQueue:
      return absl::StrCat("viommuctl delete fault-queue ", name);
    case Kind::kIoas:
      return absl::StrCat("viommuctl mappings ", name, " shows where; then viommuctl unmap ", name,
                          " --iova ADDRESS --size SIZE");
    default:
      return "";
  }
}

std::string Filled(absl::string_view text, const CallError& error, const CommandLine& line) {
  const std::string& object = error.resource.name;
  const Kind kind = KindOf(object);
  std::string filled = absl::StrReplaceAll(
      text, {{"{object}", object.empty() ? "NAME" : ShortName(object)},
             {"{kind}", kind == Kind::kNone ? "KIND" : WordsOf(kind).singular}});
  const auto limit = error.metadata.find("limit");
  if (limit != error.metadata.end()) absl::StrReplaceAll({{"{LIMIT}", limit->second}}, &filled);
  const std::string source = line.Text(line.Has("from") ? "from" : "IOAS");
  absl::StrReplaceAll({{"{SOURCE}", source.empty() ? "IOAS" : source}}, &filled);
  for (const char* name : {"IOAS", "DEVICE"}) {
    const std::string given = line.Text(name);
    const std::string value = given.empty() ? name : given;
    absl::StrReplaceAll({{absl::StrCat("{", name, "}"), value}}, &filled);
  }
  return filled;
}

// By kind, for errors whose reasons are made of its name.
std::string HintOfKind(const CallError& error) {
  const Kind kind = KindOf(error.resource.name);
  if (kind == Kind::kNone) return "";
  const KindWords& words = WordsOf(kind);
  if (error.code == absl::StatusCode::kNotFound) {
    return absl::StrCat("viommuctl list ", words.plural, " shows what there is");
  }
  if (error.code == absl::StatusCode::kAlreadyExists) {
    return absl::StrCat("choose another id, or: viommuctl delete ", words.singular, " ",
                        ShortName(error.resource.name));
  }
  return "";
}

}  // namespace

std::vector<std::string> HintsFor(const CallError& error, const CommandLine& line,
                                  bool may_have_arrived) {
  std::vector<std::string> hints;
  if (error.reason == "IN_USE" || error.reason == "STILL_ATTACHED") {
    for (const Precondition& one : error.preconditions) {
      const std::string command = FreeingCommand(one.subject);
      if (!command.empty()) hints.push_back(command);
    }
    return hints;
  }
  absl::string_view by_reason = TextForCommand(error.reason, line);
  if (by_reason.empty()) by_reason = TextFor(error.reason, std::begin(kHints), std::end(kHints));
  if (!by_reason.empty()) return {Filled(by_reason, error, line)};
  const bool changes = line.command != nullptr && (line.command->traits & kChanges) != 0;
  if (changes && !line.Has("dry-run") && may_have_arrived &&
      error.code == absl::StatusCode::kUnavailable) {
    return {kMayBeDone};
  }
  const std::string of_kind = HintOfKind(error);
  if (!of_kind.empty()) return {of_kind};
  const std::string code = absl::StatusCodeToString(error.code);
  absl::string_view by_code = TextForCommand(code, line);
  if (by_code.empty()) by_code = TextFor(code, std::begin(kHintsByCode), std::end(kHintsByCode));
  if (!by_code.empty()) hints.emplace_back(by_code);
  return hints;
}

}  // namespace viommu
