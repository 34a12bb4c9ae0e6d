#include "server/json.h"

#include <string>

#include "gtest/gtest.h"

namespace viommu {
namespace {

TEST(JsonStringTest, EscapesWhatJsonDoesNotAllow) {
  const struct {
    const char* name;
    std::string text;
    std::string want;
  } kCases[] = {
      {"plain", "ioas/vm0", R"("ioas/vm0")"},
      {"empty", "", R"("")"},
      {"quote and backslash", R"(a"b\c)", R"("a\"b\\c")"},
      {"line ends", "a\nb\tc\rd", R"("a\nb\tc\u000dd")"},
      {"control characters", std::string("\0\x1f\x7f", 3), R"("\u0000\u001f\u007f")"},
      {"two, three and four bytes", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
       "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
      {"lone continuation", "a\x80z", "\"a\xef\xbf\xbdz\""},
      {"cut short", "\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
      {"overlong slash", "\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
      {"overlong in three", "\xe0\x80\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
      {"surrogate", "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
      {"above the last code point", "\xf4\x90\x80\x80",
       "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(JsonString(c.text), c.want);
  }
}

}  // namespace
}  // namespace viommu
