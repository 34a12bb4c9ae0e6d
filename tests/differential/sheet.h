// tests/differential/sheet.h -- What one side says of something, field by field, to be compared.
//
// A hash of all fields, so that a step costs little; in words when a person is to read it.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_SHEET_H_
#define VIOMMU_TESTS_DIFFERENTIAL_SHEET_H_

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace viommu::differential {

// Plain value. Two sheets are equal when the same fields were put on them in the same order.
class Sheet {
 public:
  Sheet() = default;
  explicit Sheet(bool in_words) : in_words_(in_words) {}

  void Put(absl::string_view field, uint64_t value) {
    Mix(value);
    if (in_words_) absl::StrAppend(&words_, " ", field, "=0x", absl::Hex(value));
  }
  void Put(absl::string_view field, absl::string_view value) {
    Mix(value.size());
    for (const char c : value) Mix(static_cast<unsigned char>(c));
    if (in_words_) absl::StrAppend(&words_, " ", field, "=\"", value, "\"");
  }

  bool in_words() const { return in_words_; }
  const std::string& words() const { return words_; }
  friend bool operator==(const Sheet& a, const Sheet& b) { return a.hash_ == b.hash_; }
  friend bool operator!=(const Sheet& a, const Sheet& b) { return !(a == b); }

 private:
  void Mix(uint64_t value) {
    hash_ = (hash_ ^ value) * 0x9e3779b97f4a7c15;
    hash_ ^= hash_ >> 29;
  }

  bool in_words_ = false;
  uint64_t hash_ = 0x243f6a8885a308d3;
  std::string words_;
};

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_SHEET_H_
