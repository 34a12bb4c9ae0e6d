#include "server/page_token.h"

#include <string>

#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

std::string ReasonOf(const absl::Status& status) {
  return DetailOf(status).value_or(ErrorDetail()).reason;
}

TEST(PageTokenTest, GivesTheCursorBack) {
  for (const std::string& cursor : {std::string("vm0"), std::string("\0\xff", 2)}) {
    EXPECT_EQ(*DecodePageToken("ListIoas", EncodePageToken("ListIoas", cursor)), cursor);
  }
}

TEST(PageTokenTest, HasNoTokenForTheEnd) {
  EXPECT_EQ(EncodePageToken("ListIoas", ""), "");
  EXPECT_EQ(*DecodePageToken("ListIoas", ""), "");
}

TEST(PageTokenTest, RefusesTokensOfAnotherListing) {
  const std::string token = EncodePageToken("ListIoas", "vm0");
  EXPECT_EQ(ReasonOf(DecodePageToken("ListDomains", token).status()), "UNKNOWN_PAGE_TOKEN");
}

TEST(PageTokenTest, DoesNotConfuseScopeAndCursor) {
  const std::string token = EncodePageToken("List", "aB");
  EXPECT_EQ(ReasonOf(DecodePageToken("Lista", token).status()), "UNKNOWN_PAGE_TOKEN");
}

TEST(PageTokenTest, RefusesEveryDamagedToken) {
  const std::string token = EncodePageToken("ListIoas", "vm0");
  for (size_t i = 0; i < token.size(); ++i) {
    std::string damaged = token;
    damaged[i] = damaged[i] == 'A' ? 'B' : 'A';
    EXPECT_EQ(ReasonOf(DecodePageToken("ListIoas", damaged).status()), "UNKNOWN_PAGE_TOKEN") << i;
  }
  for (const char* forged : {"A", "AAAA", "!", "not base64 at all"}) {
    EXPECT_EQ(ReasonOf(DecodePageToken("ListIoas", forged).status()), "UNKNOWN_PAGE_TOKEN");
  }
}

// Base64 readers skip spaces and padding and ignore the last bits: other texts, the same bytes.
TEST(PageTokenTest, RefusesOtherSpellingsOfAToken) {
  const std::string token = EncodePageToken("ListIoas", "vm0x");
  ASSERT_EQ(DecodePageToken("ListIoas", token).value_or(""), "vm0x");
  for (const std::string& other : {token + "=", token + "==", token + " ", " " + token,
                                   token.substr(0, 4) + "\n" + token.substr(4)}) {
    EXPECT_EQ(ReasonOf(DecodePageToken("ListIoas", other).status()), "UNKNOWN_PAGE_TOKEN") << other;
  }
}

TEST(PageTokenTest, ReadsPageSizes) {
  const struct {
    int asked;
    size_t want;
  } kCases[] = {{0, kDefaultPageSize}, {1, 1}, {1000, 1000}, {1001, kMaxPageSize}};
  for (const auto& c : kCases) EXPECT_EQ(ParsePage("List", c.asked, "")->page_size, c.want);
  EXPECT_EQ(ReasonOf(ParsePage("List", -1, "").status()), "INVALID_PAGE_SIZE");
}

TEST(PageTokenTest, ContinuesWhereAPageEnded) {
  EXPECT_EQ(ParsePage("List", 0, EncodePageToken("List", "vm7"))->cursor, "vm7");
  EXPECT_EQ(ReasonOf(ParsePage("List", 0, "forged").status()), "UNKNOWN_PAGE_TOKEN");
}

}  // namespace
}  // namespace viommu
