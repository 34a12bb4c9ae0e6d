// clients/viommuctl/invocation.h -- One run of one command: its values, its connection, its output.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_INVOCATION_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_INVOCATION_H_

#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "clients/client/client.h"
#include "clients/viommuctl/command.h"
#include "clients/viommuctl/command_line.h"
#include "clients/viommuctl/table.h"
#include "google/protobuf/message.h"
#include "viommu/v1/common.pb.h"

namespace viommu {

// Thread-compatible.
class Invocation {
 public:
  // `commands` is what `line` was parsed with. All of them outlive the invocation.
  Invocation(const std::vector<Command>& commands, const CommandLine& line, std::ostream* out,
             std::ostream* err)
      : commands_(commands), line_(line), out_(*out), err_(*err) {}

  // --- values; those of flags and arguments that were not given are 0 or empty -------------------

  bool Has(absl::string_view name) const { return line_.Has(name); }
  std::string Text(absl::string_view name) const { return line_.Text(name); }
  const std::vector<std::string>& Texts(absl::string_view name) const;
  uint64_t Address(absl::string_view name) const;
  uint64_t Size(absl::string_view name) const;
  int Number(absl::string_view name) const;
  v1::Permission PermissionOf(absl::string_view name) const;
  // The resource name that the flag or argument `name` of the command means.
  std::string Name(absl::string_view name) const;
  // The same of the command's first argument.
  std::string FirstName() const;

  const std::vector<Command>& commands() const { return commands_; }
  const CommandLine& line() const { return line_; }
  std::string target() const;

  // --- calls -----------------------------------------------------------------------------------

  // Connects when called for the first time.
  // kUnavailable: nobody listens. kInvalidArgument: --timeout or --target is none.
  absl::StatusOr<Client*> Connected();
  // Whether viommud may have got something of what is to be done.
  bool HasConnected() const { return client_ != nullptr; }
  // Whether somebody listens at the target, answering or not; of TCP that is not known.
  bool IsListenedAt() const;
  // The same with a shorter patience and no repetitions, for completion.
  void MakeImpatient(absl::Duration patience) { patience_ = patience; }

  // Calls `method`, with --dry-run, --request-id and --etag in the fields that the request has for
  // them.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                Request request) {
    const absl::StatusOr<Client*> client = Connected();
    if (!client.ok()) return client.status();
    Prepare(&request);
    const absl::Time start = absl::Now();
    absl::StatusOr<Response> response = (*client)->Call(method, request);
    Note(request, response.status(), absl::Now() - start);
    return response;
  }

  // All pages of a listing as if they were one, or as much of it as --limit allows.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> CallPages(grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                  const Request&, Response*),
                                     Request request, uint64_t limit) {
    Response all;
    do {
      request.set_page_size(NextPageSize(all, limit));
      request.set_page_token(all.next_page_token());
      absl::StatusOr<Response> page = Call(method, request);
      if (!page.ok()) return page.status();
      all.MergeFrom(*page);
      // MergeFrom keeps the token of the page before when this one has none.
      all.set_next_page_token(page->next_page_token());
    } while (!all.next_page_token().empty() && !IsFull(all, limit));
    return all;
  }
  // --limit; 0: all.
  uint64_t Limit() const;

  // --- output ----------------------------------------------------------------------------------

  bool ForPrograms() const;  // -o json or textproto.
  bool DryRun() const { return Has("dry-run"); }

  // Prints an answer: `message` for programs, `table` for people.
  void Show(const google::protobuf::Message& message, const Table& table);
  // The same of a listing; says when --limit cut it.
  void ShowListing(const google::protobuf::Message& message, bool is_cut, const Table& table);
  // Prints what was done: "ioas/vm0 created", or of a dry run "ioas/vm0 would be created". `rest`
  // follows on the same line.
  void Did(const google::protobuf::Message& message, absl::string_view subject,
           absl::string_view participle, absl::string_view rest = "");
  // For people only.
  void Print(absl::string_view text) { out_ << text; }
  bool Quiet() const { return Has("quiet"); }
  std::ostream& out() { return out_; }
  std::ostream& err() { return err_; }

  // What the process ends with when the command went well otherwise.
  void EndWith(int exit_code) { exit_code_ = exit_code; }
  int exit_code() const { return exit_code_; }

 private:
  const Param* Find(absl::string_view name) const;
  void Prepare(google::protobuf::Message* request) const;
  void Note(const google::protobuf::Message& request, const absl::Status& status,
            absl::Duration took);
  static int NextPageSize(const google::protobuf::Message& all, uint64_t limit);
  static bool IsFull(const google::protobuf::Message& all, uint64_t limit);
  void PrintMessage(const google::protobuf::Message& message);

  const std::vector<Command>& commands_;
  const CommandLine& line_;
  std::ostream& out_;
  std::ostream& err_;
  absl::Duration patience_ = absl::ZeroDuration();  // 0: the usual one.
  std::unique_ptr<Client> client_;
  int exit_code_ = 0;
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_INVOCATION_H_
