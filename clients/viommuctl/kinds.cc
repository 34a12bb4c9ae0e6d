#include "clients/viommuctl/kinds.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace viommu {
namespace {

constexpr absl::string_view kOwners = "owners/";

// The queue stands before the IOMMU, whose prefix it shares; so does what belongs to a Viommu.
constexpr KindWords kKinds[] = {
    {Kind::kRegion, "region", "regions", "memoryRegions/", ""},
    {Kind::kIoas, "ioas", "ioas", "ioas/", ""},
    {Kind::kDomain, "domain", "domains", "domains/", ""},
    {Kind::kFaultQueue, "fault-queue", "fault-queues", "faultQueues/", ""},
    {Kind::kDevice, "device", "devices", "devices/", ""},
    {Kind::kQueue, "queue", "queues", "iommus/", "/invalidationQueue"},
    {Kind::kIommu, "iommu", "iommus", "iommus/", ""},
    {Kind::kVdevice, "vdevice", "vdevices", "viommus/", "", "/vdevices/"},
    {Kind::kEventQueue, "event-queue", "event-queues", "viommus/", "", "/eventQueues/"},
    {Kind::kHardwareQueue, "hardware-queue", "hardware-queues", "viommus/", "", "/hardwareQueues/"},
    {Kind::kViommu, "viommu", "viommus", "viommus/", ""},
    {Kind::kListener, "listener", "listeners", "listeners/", ""},
};

// "ioas/vm0" of "owners/x/ioas/vm0".
absl::string_view WithoutOwner(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, kOwners)) return name;
  const size_t slash = name.find('/');
  return slash == absl::string_view::npos ? absl::string_view() : name.substr(slash + 1);
}

// "nic" of "vm0/vdevices/nic", and "vm0"; empty when it is not of that form.
std::pair<absl::string_view, absl::string_view> Halves(absl::string_view path,
                                                       absl::string_view between) {
  const size_t at = path.find(between);
  if (at == absl::string_view::npos) return {};
  return {path.substr(0, at), path.substr(at + between.size())};
}

// Of what belongs to a Viommu.
bool IsPathOf(const KindWords& words, absl::string_view path) {
  const auto [viommu, id] = Halves(path, words.below);
  return !viommu.empty() && !id.empty() && !absl::StrContains(viommu, '/') &&
         !absl::StrContains(id, '/');
}

absl::Status Refusal(const KindWords& words, absl::string_view text) {
  if (!words.below.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", absl::CHexEscape(text), "\" names no ",
                                                   words.singular, "; write VIOMMU/ID or ",
                                                   words.prefix, "VIOMMU", words.below, "ID"));
  }
  return absl::InvalidArgumentError(absl::StrCat("\"", absl::CHexEscape(text), "\" names no ",
                                                 words.singular, "; write ID or ", words.prefix,
                                                 "ID", words.suffix));
}

}  // namespace

absl::Span<const KindWords> AllKinds() { return kKinds; }

const KindWords& WordsOf(Kind kind) {
  for (const KindWords& words : kKinds) {
    if (words.kind == kind) return words;
  }
  return kKinds[0];
}

absl::StatusOr<std::string> ResourceName(Kind kind, absl::string_view text) {
  const KindWords& words = WordsOf(kind);
  if (text.empty()) return Refusal(words, text);
  if (!words.below.empty()) {
    const auto [viommu, id] = Halves(text, "/");
    const bool is_short = !viommu.empty() && !id.empty() && !absl::StrContains(id, '/') &&
                          !absl::StartsWith(text, words.prefix);
    if (is_short) {
      return absl::StrCat(words.prefix, viommu, words.below, id);
    }
    absl::string_view path = WithoutOwner(text);
    if (absl::ConsumePrefix(&path, words.prefix) && IsPathOf(words, path)) return std::string(text);
    return Refusal(words, text);
  }
  if (!absl::StrContains(text, '/')) return absl::StrCat(words.prefix, text, words.suffix);
  const absl::string_view own = WithoutOwner(text);
  if (!absl::StartsWith(own, words.prefix)) return Refusal(words, text);
  // The queue of an IOMMU may be asked for by the name of the IOMMU.
  if (!absl::EndsWith(own, words.suffix)) return absl::StrCat(text, words.suffix);
  return std::string(text);
}

std::string ShortName(absl::string_view resource_name) {
  for (const KindWords& words : kKinds) {
    absl::string_view id = resource_name;
    if (!absl::ConsumePrefix(&id, words.prefix) || !absl::ConsumeSuffix(&id, words.suffix))
      continue;
    if (words.below.empty()) return std::string(id);
    if (!IsPathOf(words, id)) continue;
    const auto [viommu, own] = Halves(id, words.below);
    return absl::StrCat(viommu, "/", own);
  }
  return std::string(resource_name);
}

Kind KindOf(absl::string_view resource_name) {
  const absl::string_view own = WithoutOwner(resource_name);
  for (const KindWords& words : kKinds) {
    if (!absl::StartsWith(own, words.prefix) || !absl::EndsWith(own, words.suffix)) continue;
    if (words.below.empty() || IsPathOf(words, own.substr(words.prefix.size()))) return words.kind;
  }
  return Kind::kNone;
}

}  // namespace viommu
