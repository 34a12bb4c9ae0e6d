#include "tests/conformance/daemon.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace viommu::conformance {
namespace {

// Not TEST_TMPDIR: the path of a socket may have 107 bytes.
constexpr char kFolder[] = "/tmp/viommu-conformance.XXXXXX";

std::string LogPath(const std::string& folder) { return folder + "/stderr"; }

// The process, or 0 with errno set.
pid_t Spawn(std::vector<std::string> arguments, const std::string& log) {
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, log.c_str(), O_WRONLY | O_CREAT, 0600);
  pid_t process = 0;
  const int error = posix_spawn(&process, argv[0], &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  errno = error;
  return error == 0 ? process : 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(const std::string& binary,
                                                      const std::string& topology) {
  std::string folder = kFolder;
  if (mkdtemp(folder.data()) == nullptr) {
    return absl::ErrnoToStatus(errno, absl::StrCat("making ", folder));
  }
  const pid_t process = Spawn({binary, absl::StrCat("--state_dir=", folder, "/state"),
                               absl::StrCat("--unix_socket=", folder, "/viommud.sock"),
                               "--metrics_address=", absl::StrCat("--topology=", topology)},
                              LogPath(folder));
  if (process == 0) {
    absl::Status failed = absl::ErrnoToStatus(errno, absl::StrCat("starting ", binary));
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
    return failed;
  }
  return std::unique_ptr<Daemon>(new Daemon(folder, process));
}

Daemon::~Daemon() {
  Stop();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::string Daemon::Log() const {
  std::ostringstream text;
  text << std::ifstream(LogPath(folder_)).rdbuf();
  return text.str();
}

int Daemon::Stop() {
  if (process_ == 0) return 0;
  kill(process_, SIGTERM);
  int status = 0;
  while (waitpid(process_, &status, 0) < 0 && errno == EINTR) {
  }
  process_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace viommu::conformance
