#include "tests/property/guest_tables.h"

namespace viommu::property {
namespace {

constexpr uint64_t kPresent = 1 << 0;

// x86-64.
constexpr uint64_t kWrite = 1 << 1;
constexpr uint64_t kUser = 1 << 2;
constexpr uint64_t kAccessedAndDirty = 3 << 5;
constexpr uint64_t kLarge = 1 << 7;
constexpr uint64_t kAddress = 0x000ffffffffff000;

// Arm.
constexpr uint64_t kTableOrPage = 1 << 1;
constexpr uint64_t kLeafUser = 1 << 6;      // AP[1]
constexpr uint64_t kLeafReadOnly = 1 << 7;  // AP[2]
constexpr uint64_t kLeafAccessed = 1 << 10;
constexpr uint64_t kLeafNotGlobal = 1 << 11;
constexpr uint64_t kTableNoUser = uint64_t{1} << 61;   // APTable[0]
constexpr uint64_t kTableNoWrite = uint64_t{1} << 62;  // APTable[1]
constexpr uint64_t kArmAddress = 0x0000fffffffff000;

uint64_t Bit(bool on, uint64_t bit) { return on ? bit : 0; }

uint64_t EncodeX86(int level, const GuestWord& word) {
  return kPresent | Bit(word.writable, kWrite) | Bit(word.user, kUser) |
         Bit(word.accessed, kAccessedAndDirty) | Bit(word.leaf && level > 1, kLarge) | word.address;
}

GuestWord DecodeX86(int level, uint64_t bits) {
  const bool large = level > 1 && (bits & kLarge) != 0;
  GuestWord word;
  word.present = true;
  word.leaf = level == 1 || large;
  word.user = (bits & kUser) != 0 && !(large && level > 2);
  word.writable = (bits & kWrite) != 0;
  word.address = bits & kAddress;
  if (large) word.user = word.user && (word.address & ((uint64_t{1} << ShiftOf(level)) - 1)) == 0;
  return word;
}

uint64_t EncodeArm(int level, const GuestWord& word) {
  const uint64_t head = kPresent | Bit(!word.leaf || level == 1, kTableOrPage) | word.address;
  if (!word.leaf) return head | Bit(!word.user, kTableNoUser) | Bit(!word.writable, kTableNoWrite);
  return head | kLeafNotGlobal | Bit(word.user, kLeafUser) | Bit(!word.writable, kLeafReadOnly) |
         Bit(word.accessed, kLeafAccessed);
}

GuestWord DecodeArm(int level, uint64_t bits) {
  GuestWord word;
  word.present = true;
  word.leaf = level == 1 || (bits & kTableOrPage) == 0;
  word.address = bits & kArmAddress;
  if (!word.leaf) {
    word.user = (bits & kTableNoUser) == 0;
    word.writable = (bits & kTableNoWrite) == 0;
    return word;
  }
  // A walk may meet here what was written for another level.
  const bool malformed = level == 4 || (level == 1 && (bits & kTableOrPage) == 0);
  word.address &= -(uint64_t{1} << ShiftOf(level));
  word.user = (bits & kLeafUser) != 0 && !malformed;
  word.writable = (bits & kLeafReadOnly) == 0;
  word.accessed = (bits & kLeafAccessed) != 0;
  return word;
}

}  // namespace

uint64_t EncodeGuestWord(IommuArchitecture architecture, int level, const GuestWord& word) {
  if (!word.present) return 0;
  return architecture == IommuArchitecture::kVtd ? EncodeX86(level, word) : EncodeArm(level, word);
}

GuestWord DecodeGuestWord(IommuArchitecture architecture, int level, uint64_t bits) {
  if ((bits & kPresent) == 0) return GuestWord();
  return architecture == IommuArchitecture::kVtd ? DecodeX86(level, bits) : DecodeArm(level, bits);
}

}  // namespace viommu::property
