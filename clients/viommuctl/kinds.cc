#include "clients/viommuctl/kinds.h"

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace viommu {
namespace {

constexpr absl::string_view kOwners = "owners/";

// The queue stands before the IOMMU, whose prefix it shares.
constexpr KindWords kKinds[] = {
    {Kind::kRegion, "region", "regions", "memoryRegions/", ""},
    {Kind::kIoas, "ioas", "ioas", "ioas/", ""},
    {Kind::kDomain, "domain", "domains", "domains/", ""},
    {Kind::kFaultQueue, "fault-queue", "fault-queues", "faultQueues/", ""},
    {Kind::kDevice, "device", "devices", "devices/", ""},
    {Kind::kQueue, "queue", "queues", "iommus/", "/invalidationQueue"},
    {Kind::kIommu, "iommu", "iommus", "iommus/", ""},
};

// "ioas/vm0" of "owners/x/ioas/vm0".
absl::string_view WithoutOwner(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, kOwners)) return name;
  const size_t slash = name.find('/');
  return slash == absl::string_view::npos ? absl::string_view() : name.substr(slash + 1);
}

absl::Status Refusal(const KindWords& words, absl::string_view text) {
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
    if (absl::ConsumePrefix(&id, words.prefix) && absl::ConsumeSuffix(&id, words.suffix)) {
      return std::string(id);
    }
  }
  return std::string(resource_name);
}

Kind KindOf(absl::string_view resource_name) {
  const absl::string_view own = WithoutOwner(resource_name);
  for (const KindWords& words : kKinds) {
    if (absl::StartsWith(own, words.prefix) && absl::EndsWith(own, words.suffix)) return words.kind;
  }
  return Kind::kNone;
}

}  // namespace viommu
