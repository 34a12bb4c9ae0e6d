#include "clients/client/target.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace viommu {
namespace {

constexpr size_t kMaxPathBytes = sizeof(sockaddr_un::sun_path) - 1;  // A zero follows.
constexpr int kMaxPort = 65535;

absl::Status Refusal(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(
      "target \"", text, "\": ", why, "; wanted is unix:PATH, the path of a socket, or HOST:PORT"));
}

// gRPC reads a target as a URI: whatever has a meaning there is written as %XX.
std::string Escaped(absl::string_view path) {
  std::string out;
  for (const char c : path) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("/-._~", c)) {
      out.push_back(c);
    } else {
      absl::StrAppendFormat(&out, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return out;
}

absl::StatusOr<Target> SocketAt(absl::string_view text, absl::string_view path) {
  if (path.empty()) return Refusal(text, "the path is empty");
  if (path.size() > kMaxPathBytes) {
    return Refusal(text, absl::StrCat("the path has ", path.size(), " bytes, a socket's may have ",
                                      kMaxPathBytes));
  }
  return Target{absl::StrCat("unix:", Escaped(path)), std::string(path)};
}

bool IsHost(absl::string_view host) {
  const bool bracketed = absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]");
  if (host.empty()) return false;
  for (const char c : host) {
    const bool of_name =
        absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("-._", c);
    if (!of_name && !(bracketed && absl::StrContains(":%", c))) return false;
  }
  return true;
}

absl::StatusOr<Target> HostAndPort(absl::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return Refusal(text, "there is no port");
  if (!IsHost(text.substr(0, colon))) return Refusal(text, "the host is none");
  const absl::string_view digits = text.substr(colon + 1);
  int port = 0;
  // SimpleAtoi would take a sign, and blanks around it.
  const bool number = !digits.empty() && absl::ascii_isdigit(digits.front()) &&
                      absl::ascii_isdigit(digits.back()) && absl::SimpleAtoi(digits, &port);
  if (!number || port < 1 || port > kMaxPort) {
    return Refusal(text, absl::StrCat("the port is not 1 to ", kMaxPort));
  }
  return Target{std::string(text), ""};
}

}  // namespace

absl::StatusOr<Target> ParseTarget(absl::string_view text) {
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "unix:")) {
    if (!absl::ConsumePrefix(&rest, "//")) return SocketAt(text, rest);
    if (!absl::StartsWith(rest, "/")) return Refusal(text, "unix:// wants an absolute path");
    return SocketAt(text, rest);
  }
  if (absl::StrContains(text, "://")) return Refusal(text, "this kind of address is not known");
  if (absl::StrContains(text, '/')) return SocketAt(text, text);
  return HostAndPort(text);
}

bool IsListenedAt(const std::string& socket_path) {
  if (socket_path.empty() || socket_path.size() > kMaxPathBytes) return false;
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, socket_path.data(), socket_path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  // A full queue of one who is slow to accept is an answer, too.
  const bool listened =
      connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)) == 0 || errno == EAGAIN;
  close(fd);
  return listened;
}

}  // namespace viommu
