// clients/viommuctl/main.cc -- viommuctl: one command against one daemon, and its exit code.

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "clients/client/call_error.h"
#include "clients/viommuctl/command_line.h"
#include "clients/viommuctl/command_table.h"
#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/completion.h"
#include "clients/viommuctl/exit_code.h"
#include "clients/viommuctl/help.h"
#include "clients/viommuctl/hints.h"
#include "clients/viommuctl/invocation.h"
#include "grpc/grpc.h"

namespace viommu {
namespace {

// Whoever has pressed the tabulator does not wait.
constexpr absl::Duration kCompletionPatience = absl::Milliseconds(400);
constexpr char kCompleteWord[] = "__complete";

int RefuseUsage(const absl::Status& status, const CommandLine& line) {
  std::cerr << "viommuctl: " << status.message() << "\n";
  if (line.command != nullptr) {
    std::cerr << "usage: " << UsageOf(*line.command) << "\n"
              << "hint: viommuctl help " << line.command->name << "\n";
  } else {
    std::cerr << "hint: viommuctl help lists all commands\n";
  }
  return kExitUsage;
}

int RefuseCall(const absl::Status& status, const CommandLine& line, bool may_have_arrived) {
  const CallError error = ErrorOf(status);
  // Without a reason it was refused here, before anybody was asked.
  if (error.code == absl::StatusCode::kInvalidArgument && error.reason.empty()) {
    return RefuseUsage(status, line);
  }
  std::cerr << "viommuctl: " << Explain(status) << "\n";
  for (const std::string& hint : HintsFor(error, line, may_have_arrived)) {
    std::cerr << "hint: " << hint << "\n";
  }
  return ExitCodeOf(status);
}

int PrintCompletions(const std::vector<Command>& commands, const std::vector<std::string>& words) {
  const NamesSource names = [&commands](Kind kind, const CommandLine& line) {
    Invocation call(commands, line, &std::cout, &std::cerr);
    call.MakeImpatient(kCompletionPatience);
    return NamesOf(kind, call);
  };
  for (const std::string& word : Complete(commands, words, names)) std::cout << word << "\n";
  return kExitOk;
}

int RunCommand(const std::vector<Command>& commands, const CommandLine& line) {
  Invocation call(commands, line, &std::cout, &std::cerr);
  if ((line.command->traits & kForPeople) != 0 && call.ForPrograms()) {
    return RefuseUsage(absl::InvalidArgumentError(absl::StrCat(
                           line.command->name, " is for people; -o json goes with get and list")),
                       line);
  }
  const absl::Status status = line.command->run(call);
  std::cout.flush();
  if (!status.ok()) return RefuseCall(status, line, call.HasConnected());
  if (!std::cout) {
    std::cerr << "viommuctl: the output could not be written\n";
    return kExitFailure;
  }
  return call.exit_code();
}

int Main(std::vector<std::string> words) {
  // gRPC would write lines of its own between ours; what matters in them comes back as a Status.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  // Never given back: gRPC would wait for its poller.
  grpc_init();
  const std::vector<Command> commands = AllCommands();
  if (!words.empty() && words[0] == kCompleteWord) {
    return PrintCompletions(commands, {words.begin() + 1, words.end()});
  }
  // As every tool has it, beside the command.
  if (words == std::vector<std::string>{"--version"}) words = {"version"};
  CommandLine line;
  const absl::Status parsed = ParseCommandLine(commands, words, &line);
  if (!parsed.ok()) return RefuseUsage(parsed, line);
  if (line.command == nullptr || line.Has("help")) {
    std::cout << (line.command == nullptr ? Overview(commands) : Explanation(*line.command));
    return kExitOk;
  }
  return RunCommand(commands, line);
}

}  // namespace
}  // namespace viommu

int main(int argc, char** argv) { return viommu::Main({argv + 1, argv + argc}); }
