// A token is good for the listing it was made for, in the one spelling it was made in.
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "engine/types.h"
#include "server/page_token.h"
#include "tests/fuzz/bytes.h"
#include "tests/fuzz/check.h"

namespace viommu {
namespace {

using fuzz::Check;

void CheckMade(const std::string& scope, const std::string& cursor) {
  const std::string token = EncodePageToken(scope, cursor);
  const auto back = DecodePageToken(scope, token);
  Check(back.ok() && *back == cursor, "a token does not lead back to its cursor");
  if (!token.empty()) Check(!DecodePageToken(scope + "x", token).ok(), "good for another listing");
}

void CheckForeign(const std::string& scope, const std::string& token) {
  const auto cursor = DecodePageToken(scope, token);
  if (!cursor.ok()) {
    Check(cursor.status().code() == absl::StatusCode::kInvalidArgument, "another code");
  } else {
    Check(EncodePageToken(scope, *cursor) == token, "a token that was never made is accepted");
  }
}

// Close to a good one: `edits` pairs of place and byte.
std::string Damaged(std::string token, fuzz::Bytes* bytes) {
  while (!bytes->empty() && !token.empty()) {
    const size_t place = bytes->Byte() % (token.size() + 1);
    const char with = static_cast<char>(bytes->Byte());
    if (place == token.size()) {
      token.push_back(with);
    } else {
      token[place] = with;
    }
  }
  return token;
}

void CheckPage(const std::string& scope, int size, const std::string& token) {
  const auto page = ParsePage(scope, size, token);
  if (!page.ok()) return;
  Check(size >= 0, "a negative size is accepted");
  Check(page->page_size >= 1 && page->page_size <= kMaxPageSize, "a page without limit");
}

}  // namespace
}  // namespace viommu

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  viommu::fuzz::Bytes bytes(data, size);
  const int page_size = static_cast<int>(bytes.Number(4));
  const std::string scope = bytes.Text(bytes.Byte() % 32);
  const std::string text = bytes.Text(bytes.Byte() % 64);
  viommu::CheckMade(scope, text);
  viommu::CheckForeign(scope, text);
  viommu::CheckPage(scope, page_size, text);
  const std::string token = viommu::Damaged(viommu::EncodePageToken(scope, text), &bytes);
  viommu::CheckForeign(scope, token);
  viommu::CheckPage(scope, page_size, token);
  return 0;
}
