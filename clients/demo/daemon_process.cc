#include "clients/demo/daemon_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"

namespace viommu {
namespace {

constexpr absl::Duration kStartTimeout = absl::Seconds(20);
constexpr absl::Duration kStopTimeout = absl::Seconds(40);  // Above the daemon's own, 30 s.
constexpr absl::Duration kPollInterval = absl::Milliseconds(5);
constexpr size_t kLastWordsBytes = 2000;

std::string LogIn(const std::string& state_dir) { return state_dir + "/viommud.log"; }

std::string ContentOf(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

// A fresh folder; short, because the path of a unix socket may have 107 bytes only.
absl::StatusOr<std::string> MakeStateDir() {
  std::error_code error;
  std::string path = std::filesystem::temp_directory_path(error) / "viommu-demo-XXXXXX";
  if (error || mkdtemp(path.data()) == nullptr) {
    return absl::UnavailableError(absl::StrCat("can not make the state folder ", path));
  }
  return path;
}

// In the child, where only async-signal-safe functions may be called. Returns when it failed.
void Execute(const char* program, char* const* arguments, int log_fd) {
  // No daemon is left behind, however this program ends.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  dup2(log_fd, STDOUT_FILENO);
  dup2(log_fd, STDERR_FILENO);
  execv(program, arguments);
}

// The daemon's pid, once it executes `program`.
absl::StatusOr<pid_t> Spawn(const std::string& program, const std::string& state_dir) {
  std::string words[] = {program, "--state_dir=" + state_dir, "--metrics_address=127.0.0.1:0"};
  char* const arguments[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
  const int log_fd =
      open(LogIn(state_dir).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  int failure[2];  // A pipe: closed by exec, or brings the errno with which it failed.
  if (log_fd < 0 || pipe2(failure, O_CLOEXEC) != 0) {
    return absl::UnavailableError(std::strerror(errno));
  }
  const pid_t pid = fork();
  if (pid == 0) {
    Execute(words[0].c_str(), arguments, log_fd);
    const int error = errno;
    const ssize_t ignored = write(failure[1], &error, sizeof(error));
    _exit(ignored == sizeof(error) ? 127 : 126);
  }
  close(log_fd);
  close(failure[1]);
  int error = pid < 0 ? errno : 0;
  if (pid > 0 && read(failure[0], &error, sizeof(error)) > 0) waitpid(pid, nullptr, 0);
  close(failure[0]);
  if (error == 0) return pid;
  return absl::NotFoundError(absl::StrCat("can not execute ", program, ": ", std::strerror(error)));
}

std::string DescribeEnd(int wait_status) {
  if (WIFEXITED(wait_status)) return absl::StrCat("exit code ", WEXITSTATUS(wait_status));
  return absl::StrCat("killed by signal ", WTERMSIG(wait_status));
}

}  // namespace

absl::StatusOr<DaemonEndpoints> ParseEndpoints(const std::string& json) {
  google::protobuf::Struct object;
  if (!google::protobuf::util::JsonStringToMessage(json, &object).ok()) {
    return absl::InvalidArgumentError(absl::StrCat("no JSON object: ", json));
  }
  DaemonEndpoints endpoints;
  for (const auto& [name, to] : {std::pair{"unix_socket", &endpoints.unix_socket},
                                 std::pair{"metrics_address", &endpoints.metrics_address}}) {
    const auto field = object.fields().find(name);
    if (field == object.fields().end() || field->second.string_value().empty()) {
      return absl::InvalidArgumentError(absl::StrCat("no ", name, " in ", json));
    }
    *to = field->second.string_value();
  }
  return endpoints;
}

absl::StatusOr<std::unique_ptr<DaemonProcess>> DaemonProcess::Start(const std::string& program) {
  absl::StatusOr<std::string> state_dir = MakeStateDir();
  if (!state_dir.ok()) return state_dir.status();
  auto remove = absl::MakeCleanup([&] { std::filesystem::remove_all(*state_dir); });
  const absl::StatusOr<pid_t> pid = Spawn(program, *state_dir);
  if (!pid.ok()) return pid.status();
  std::move(remove).Cancel();
  std::unique_ptr<DaemonProcess> daemon(new DaemonProcess(*std::move(state_dir), *pid));
  const absl::Status ready = daemon->WaitUntilReady();
  if (!ready.ok()) return ready;
  return daemon;
}

DaemonProcess::~DaemonProcess() {
  if (pid_ != 0) Kill();
  std::error_code ignored;  // What is left in the temporary folder harms nobody.
  std::filesystem::remove_all(state_dir_, ignored);
}

absl::Status DaemonProcess::WaitUntilReady() {
  const std::string path = state_dir_ + "/endpoints.json";
  const absl::Time deadline = absl::Now() + kStartTimeout;
  while (!std::filesystem::exists(path)) {  // It appears complete, by a rename.
    int wait_status = 0;
    if (Ended(absl::InfinitePast(), &wait_status)) {
      return absl::UnavailableError(absl::StrCat("viommud ended while it started (",
                                                 DescribeEnd(wait_status), "):\n", LastWords()));
    }
    if (absl::Now() > deadline) {
      return absl::UnavailableError(absl::StrCat(
          "viommud was not ready after ", absl::FormatDuration(kStartTimeout), ":\n", LastWords()));
    }
    absl::SleepFor(kPollInterval);
  }
  absl::StatusOr<DaemonEndpoints> endpoints = ParseEndpoints(ContentOf(path));
  if (!endpoints.ok()) return endpoints.status();
  endpoints_ = *std::move(endpoints);
  return absl::OkStatus();
}

absl::Status DaemonProcess::Stop() {
  if (pid_ == 0) return absl::OkStatus();
  int wait_status = 0;
  kill(pid_, SIGTERM);
  if (!Ended(absl::Now() + kStopTimeout, &wait_status)) {
    Kill();
    return absl::DeadlineExceededError(
        absl::StrCat("viommud did not stop within ", absl::FormatDuration(kStopTimeout)));
  }
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("viommud stopped with ", DescribeEnd(wait_status), ":\n", LastWords()));
}

bool DaemonProcess::Ended(absl::Time deadline, int* wait_status) {
  while (waitpid(pid_, wait_status, WNOHANG) != pid_) {
    if (absl::Now() >= deadline) return false;
    absl::SleepFor(kPollInterval);
  }
  pid_ = 0;
  return true;
}

void DaemonProcess::Kill() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

std::string DaemonProcess::LastWords() const {
  const std::string text = ContentOf(LogIn(state_dir_));
  return text.size() <= kLastWordsBytes ? text : text.substr(text.size() - kLastWordsBytes);
}

}  // namespace viommu
