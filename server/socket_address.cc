#include "server/socket_address.h"

#include <arpa/inet.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {
namespace {

constexpr uint32_t kMaxPort = 65535;

bool IsIpv6(const std::string& host) {
  in6_addr ignored;
  return inet_pton(AF_INET6, host.c_str(), &ignored) == 1;
}

bool IsHostCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == '_';
}

bool IsHost(absl::string_view host) {
  for (const char c : host) {
    if (!IsHostCharacter(c)) return false;
  }
  return !host.empty();
}

bool ParsePort(absl::string_view text, uint16_t* port) {
  // SimpleAtoi also takes signs and spaces.
  if (text.empty() || text.find_first_not_of("0123456789") != absl::string_view::npos) return false;
  uint32_t value = 0;
  if (!absl::SimpleAtoi(text, &value) || value > kMaxPort) return false;
  *port = static_cast<uint16_t>(value);
  return true;
}

absl::Status Malformed(absl::string_view text, absl::string_view why) {
  return Error(absl::StatusCode::kInvalidArgument, "MALFORMED_ADDRESS",
               absl::StrCat("\"", text, "\" is no address: ", why));
}

}  // namespace

std::string SocketAddress::ToString() const {
  const bool brackets = absl::StrContains(host, ':');
  return absl::StrCat(brackets ? "[" : "", host, brackets ? "]" : "", ":", port);
}

absl::StatusOr<SocketAddress> ParseSocketAddress(absl::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return Malformed(text, "HOST:PORT is wanted");
  SocketAddress address;
  if (!ParsePort(text.substr(colon + 1), &address.port)) {
    return Malformed(text, "the port must be a number in 0..65535");
  }
  const absl::string_view host = text.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    address.host = std::string(host.substr(1, host.size() - 2));
    if (!IsIpv6(address.host)) return Malformed(text, "no IPv6 address stands in the brackets");
    return address;
  }
  if (absl::StrContains(host, ':')) return Malformed(text, "an IPv6 address needs brackets");
  if (!IsHost(host)) return Malformed(text, "the host is missing or malformed");
  address.host = std::string(host);
  return address;
}

}  // namespace viommu
