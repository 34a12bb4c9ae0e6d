// server/page_token.h -- Opaque page tokens that fit one listing only.
//
// A token carries the engine's cursor and a checksum over the listing it belongs to, so that a
// token of another listing, of another filter or a damaged one is refused, on every frontend alike.
// It grants nothing: the engine decides at each page what the caller may see.
#ifndef VIOMMU_SERVER_PAGE_TOKEN_H_
#define VIOMMU_SERVER_PAGE_TOKEN_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/types.h"

namespace viommu {

// `scope` names the listing with everything that selects its items. Empty for an empty cursor.
std::string EncodePageToken(absl::string_view scope, absl::string_view cursor);

// The cursor; empty for an empty token.
// kInvalidArgument: UNKNOWN_PAGE_TOKEN, EncodePageToken never made it for this scope.
absl::StatusOr<std::string> DecodePageToken(absl::string_view scope, absl::string_view token);

// The page that a listing request asks for: 0 means the default, too many are reduced (AIP-158).
// kInvalidArgument: INVALID_PAGE_SIZE, it is negative; UNKNOWN_PAGE_TOKEN.
absl::StatusOr<PageRequest> ParsePage(absl::string_view scope, int page_size,
                                      absl::string_view token);

}  // namespace viommu

#endif  // VIOMMU_SERVER_PAGE_TOKEN_H_
