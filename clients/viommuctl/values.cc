#include "clients/viommuctl/values.h"

#include <algorithm>
#include <cstddef>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace viommu {
namespace {

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
constexpr size_t kDumpColumns = 16;

struct Unit {
  absl::string_view letter;
  int shift;
};
// Largest first.
constexpr Unit kUnits[] = {{"T", 40}, {"G", 30}, {"M", 20}, {"K", 10}};

absl::Status Refusal(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("\"", absl::CHexEscape(text), "\" ", why));
}

bool AllDigits(absl::string_view text, bool hex) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [hex](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return hex ? absl::ascii_isxdigit(byte) : absl::ascii_isdigit(byte);
  });
}

// Digits are all there is: no sign, no blanks.
absl::StatusOr<uint64_t> ParseBits(absl::string_view whole, absl::string_view text,
                                   absl::string_view wanted) {
  const bool hex = absl::StartsWithIgnoreCase(text, "0x");
  if (hex) text.remove_prefix(2);
  if (!AllDigits(text, hex)) return Refusal(whole, absl::StrCat("is not ", wanted));
  uint64_t value = 0;
  const bool fits = hex ? absl::SimpleHexAtoi(text, &value) : absl::SimpleAtoi(text, &value);
  if (!fits) return Refusal(whole, "does not fit in 64 bits");
  return value;
}

char Printable(char c) { return absl::ascii_isprint(static_cast<unsigned char>(c)) ? c : '.'; }

std::string DumpLine(uint64_t address, absl::string_view bytes) {
  std::string hex;
  std::string text;
  for (size_t i = 0; i < kDumpColumns; ++i) {
    if (i == kDumpColumns / 2) hex += ' ';
    if (i < bytes.size()) {
      absl::StrAppendFormat(&hex, "%02x ", static_cast<unsigned char>(bytes[i]));
      text += Printable(bytes[i]);
    } else {
      hex += "   ";
    }
  }
  return absl::StrFormat("0x%016x  %s |%s|\n", address, hex, text);
}

}  // namespace

absl::StatusOr<uint64_t> ParseAddress(absl::string_view text) {
  return ParseBits(text, text, "an address, such as 0x40000000 or 4096");
}

absl::StatusOr<uint64_t> ParseSize(absl::string_view text) {
  constexpr absl::string_view kWanted = "a size in bytes, such as 4096, 4K, 2M or 1G";
  absl::string_view digits = text;
  // "0x1B" is a number; no unit is a hexadecimal digit.
  for (const Unit& unit : kUnits) {
    const std::string lower = absl::AsciiStrToLower(unit.letter);
    const bool has_unit = absl::ConsumeSuffix(&digits, absl::StrCat(unit.letter, "iB")) ||
                          absl::ConsumeSuffix(&digits, unit.letter) ||
                          absl::ConsumeSuffix(&digits, lower);
    if (!has_unit) continue;
    const absl::StatusOr<uint64_t> number = ParseBits(text, digits, kWanted);
    if (!number.ok()) return number.status();
    if (*number > kMax >> unit.shift) return Refusal(text, "does not fit in 64 bits");
    return *number << unit.shift;
  }
  return ParseBits(text, digits, kWanted);
}

absl::StatusOr<int> ParseNumber(absl::string_view text, int least) {
  int value = 0;
  if (!AllDigits(text, /*hex=*/false) || !absl::SimpleAtoi(text, &value) || value < least) {
    return Refusal(text, absl::StrCat("is not a whole number from ", least, " to 2147483647"));
  }
  return value;
}

absl::StatusOr<v1::Permission> ParsePermission(absl::string_view text) {
  if (text == "r") return v1::PERMISSION_READ;
  if (text == "w") return v1::PERMISSION_WRITE;
  if (text == "rw") return v1::PERMISSION_READ_WRITE;
  return Refusal(text, "is not a permission: r, w or rw");
}

absl::StatusOr<v1::IovaRange> ParseRange(absl::string_view text) {
  const size_t separator = text.find_first_of("-+");
  if (separator == absl::string_view::npos) {
    return Refusal(text, "is not a range: FIRST-LAST (both included) or FIRST+SIZE");
  }
  const absl::StatusOr<uint64_t> first = ParseAddress(text.substr(0, separator));
  if (!first.ok()) return first.status();
  const absl::string_view rest = text.substr(separator + 1);
  const bool sized = text[separator] == '+';
  const absl::StatusOr<uint64_t> second = sized ? ParseSize(rest) : ParseAddress(rest);
  if (!second.ok()) return second.status();
  if (sized && *second == 0) return Refusal(text, "has the size 0");
  if (sized && *second - 1 > kMax - *first) return Refusal(text, "does not fit in 64 bits");
  v1::IovaRange range;
  range.set_first(*first);
  range.set_last(sized ? *first + (*second - 1) : *second);
  if (range.last() < range.first()) return Refusal(text, "ends before it begins");
  return range;
}

absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text) {
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) || duration <= absl::ZeroDuration() ||
      duration == absl::InfiniteDuration()) {
    if (AllDigits(text, /*hex=*/false) && text != "0") {
      return Refusal(text, absl::StrCat("has no unit; write ", text, "s or ", text, "ms"));
    }
    return Refusal(text, "is not a time above 0, such as 500ms, 2s or 1m");
  }
  return duration;
}

absl::StatusOr<std::string> ParseHexBytes(absl::string_view text) {
  const std::string joined = absl::StrReplaceAll(text, {{" ", ""}});
  absl::string_view digits = joined;
  if (absl::StartsWithIgnoreCase(digits, "0x")) digits.remove_prefix(2);
  if (!AllDigits(digits, /*hex=*/true) || digits.size() % 2 != 0) {
    return Refusal(text, "is not bytes in hexadecimal, two digits each, such as 00ff");
  }
  return absl::HexStringToBytes(digits);
}

std::string FormatAddress(uint64_t address) { return absl::StrCat("0x", absl::Hex(address)); }

std::string FormatSize(uint64_t bytes) {
  for (const Unit& unit : kUnits) {
    const uint64_t size = uint64_t{1} << unit.shift;
    if (bytes != 0 && bytes % size == 0) return absl::StrCat(bytes / size, unit.letter);
  }
  return absl::StrCat(bytes);
}

std::string FormatPermission(v1::Permission permission) {
  if (permission == v1::PERMISSION_READ) return "r";
  if (permission == v1::PERMISSION_WRITE) return "w";
  return permission == v1::PERMISSION_READ_WRITE ? "rw" : "-";
}

std::string FormatRange(uint64_t first, uint64_t last) {
  return absl::StrCat("[", FormatAddress(first), ", ", FormatAddress(last), "]");
}

std::string HexDump(uint64_t first, absl::string_view data) {
  std::string out;
  for (size_t i = 0; i < data.size(); i += kDumpColumns) {
    out += DumpLine(first + i, data.substr(i, kDumpColumns));
  }
  return out;
}

}  // namespace viommu
