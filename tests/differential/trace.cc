#include "tests/differential/trace.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tests/differential/verbs.h"

namespace viommu::differential {
namespace {

// A prime, so that no rhythm of the steps hides anything.
constexpr size_t kStepsBetweenComparisons = 499;

constexpr const char* kSettingWord = "setting";
constexpr const char* kBackendNames[] = {"fake", "soft", "soft-smmu",
                                         "fake-smmu"};  // By BackendKind.
const char* BackendName(BackendKind kind) { return kBackendNames[static_cast<size_t>(kind)]; }

std::vector<Step> Without(const std::vector<Step>& trace, size_t from, size_t count) {
  std::vector<Step> rest(trace.begin(), std::next(trace.begin(), static_cast<ptrdiff_t>(from)));
  const size_t behind = std::min(from + count, trace.size());
  rest.insert(rest.end(), std::next(trace.begin(), static_cast<ptrdiff_t>(behind)), trace.end());
  return rest;
}

// `trace` cut behind what showed the difference, if there is one; else it stays. Whether there was.
bool TakeIfFails(const Setting& setting, std::vector<Step> candidate, std::vector<Step>* trace) {
  const std::optional<Difference> difference = Replay(setting, candidate);
  if (!difference.has_value()) return false;
  candidate.resize(difference->steps);
  *trace = std::move(candidate);
  return true;
}

// What goes wrong mostly needs only the last steps: the shortest end, doubled until it fails.
void KeepEnd(const Setting& setting, std::vector<Step>* trace) {
  for (size_t length = 16; length < trace->size(); length *= 2) {
    if (TakeIfFails(setting, Without(*trace, 0, trace->size() - length), trace)) return;
  }
}

absl::Status NoLine(absl::string_view line) {
  return absl::InvalidArgumentError(absl::StrCat("not a line of a trace: ", line));
}

// "setting backend=fake variant=7"
bool ParseSetting(absl::string_view line, Setting& setting) {
  const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
  if (words.size() != 3) return false;
  absl::string_view backend = words[1], variant = words[2];
  if (!absl::ConsumePrefix(&backend, "backend=") || !absl::ConsumePrefix(&variant, "variant=")) {
    return false;
  }
  setting.backend = BackendKind::kFake;
  for (const BackendKind kind :
       {BackendKind::kSoft, BackendKind::kSoftSmmu, BackendKind::kFakeSmmu}) {
    if (backend == BackendName(kind)) setting.backend = kind;
  }
  return absl::SimpleAtoi(variant, &setting.variant);
}

}  // namespace

void Tally::Add(const World& world) {
  steps += world.done() + world.refused();
  done += world.done();
  refused += world.refused();
  for (const auto& [reason, count] : world.reasons()) reasons[reason] += count;
  for (const auto& [verb, count] : world.verbs()) verbs[verb] += count;
}

std::optional<Difference> RunEpisode(const Setting& setting, uint64_t seed, size_t steps,
                                     std::vector<Step>* trace, Tally* tally) {
  World world(setting);
  Dice dice(seed);
  trace->clear();
  std::string what;
  for (size_t i = 0; i < steps && what.empty(); ++i) {
    trace->push_back(world.Invent(dice));
    what = world.Do(trace->back());
    if (what.empty() && (i + 1) % kStepsBetweenComparisons == 0) what = world.CompareAll();
  }
  if (what.empty()) what = world.CompareAll();
  tally->Add(world);
  if (what.empty()) return std::nullopt;
  return Difference{trace->size(), what};
}

std::optional<Difference> Replay(const Setting& setting, const std::vector<Step>& trace) {
  World world(setting);
  for (size_t i = 0; i < trace.size(); ++i) {
    std::string what = world.Do(trace[i]);
    if (!what.empty()) return Difference{i + 1, std::move(what)};
  }
  std::string what = world.CompareAll();
  if (what.empty()) return std::nullopt;
  return Difference{trace.size(), std::move(what)};
}

std::vector<Step> Shrink(const Setting& setting, std::vector<Step> trace) {
  KeepEnd(setting, &trace);
  size_t count = std::max<size_t>(trace.size() / 2, 1);
  while (true) {
    bool left_out = false;
    // From the end, so that what needs an earlier step goes before it.
    for (size_t end = trace.size(); end > 0;) {
      const size_t from = end > count ? end - count : 0;
      left_out = TakeIfFails(setting, Without(trace, from, end - from), &trace) || left_out;
      end = std::min(from, trace.size());
    }
    if (count == 1 && !left_out) return trace;
    if (!left_out) count /= 2;
    count = std::min(std::max<size_t>(count, 1), std::max<size_t>(trace.size(), 1));
  }
}

std::string ToText(const Setting& setting, const std::vector<Step>& trace) {
  std::string text = absl::StrCat(kSettingWord, " backend=", BackendName(setting.backend),
                                  " variant=", setting.variant, "\n");
  for (const Step& step : trace) absl::StrAppend(&text, ToLine(step), "\n");
  return text;
}

absl::StatusOr<Script> Parse(const std::string& text) {
  Script script;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.empty() || line[0] == '#') continue;
    if (absl::StartsWith(line, kSettingWord)) {
      if (!ParseSetting(line, script.setting)) return NoLine(line);
      continue;
    }
    std::optional<Step> step = ParseLine(line, AllSyntaxes());
    if (!step.has_value()) return NoLine(line);
    script.trace.push_back(*std::move(step));
  }
  return script;
}

std::string Explain(Setting setting, const std::vector<Step>& trace) {
  setting.in_words = true;
  const std::optional<Difference> difference = Replay(setting, trace);
  std::string text = ToText(setting, trace);
  const std::string what = difference.has_value() ? difference->what : "no difference";
  for (const absl::string_view line : absl::StrSplit(what, '\n')) {
    absl::StrAppend(&text, "# ", line, "\n");
  }
  return text;
}

}  // namespace viommu::differential
