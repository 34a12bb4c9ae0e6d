#include "server/page_token.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "server/sha256.h"

namespace viommu {
namespace {

// A token: version, checksum, cursor; the whole in web-safe base64.
constexpr char kVersion = 1;
constexpr size_t kChecksumBytes = 8;
constexpr size_t kHeaderBytes = 1 + kChecksumBytes;

std::string Pack(absl::string_view scope, absl::string_view cursor) {
  const std::string version(1, kVersion);
  const std::string digest = Sha256(absl::StrCat(version, scope.size(), ":", scope, cursor));
  return absl::StrCat(version, digest.substr(0, kChecksumBytes), cursor);
}

}  // namespace

std::string EncodePageToken(absl::string_view scope, absl::string_view cursor) {
  if (cursor.empty()) return "";
  return absl::WebSafeBase64Escape(Pack(scope, cursor));
}

absl::StatusOr<std::string> DecodePageToken(absl::string_view scope, absl::string_view token) {
  if (token.empty()) return std::string();
  std::string packed;
  if (absl::WebSafeBase64Unescape(token, &packed) && packed.size() > kHeaderBytes) {
    std::string cursor = packed.substr(kHeaderBytes);
    // Compared as text: base64 has many spellings, with padding and spaces, of the same bytes.
    if (token == EncodePageToken(scope, cursor)) return cursor;
  }
  return Error(absl::StatusCode::kInvalidArgument, "UNKNOWN_PAGE_TOKEN",
               "page_token: not a next_page_token of this listing with these parameters")
      .Errno("EINVAL")
      .Field("page_token");
}

absl::StatusOr<PageRequest> ParsePage(absl::string_view scope, int page_size,
                                      absl::string_view token) {
  if (page_size < 0) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_PAGE_SIZE",
                 absl::StrCat("page_size: ", page_size, " is negative"))
        .Errno("EINVAL")
        .Field("page_size");
  }
  PageRequest page;
  if (page_size > 0) page.page_size = std::min(static_cast<size_t>(page_size), kMaxPageSize);
  ASSIGN_OR_RETURN(page.cursor, DecodePageToken(scope, token));
  return page;
}

}  // namespace viommu
