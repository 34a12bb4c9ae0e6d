#include "tests/fuzz/mutator.h"

#include <iterator>

namespace viommu::fuzz {
namespace {

constexpr size_t kMaxChanges = 8;
constexpr size_t kMaxPieceBytes = 64;
constexpr uint8_t kEdgeBytes[] = {0x00, 0x01, 0x7f, 0x80, 0xff, '"', '{', '/', '-', '9'};

}  // namespace

std::string Mutator::Next() {
  std::string input = AnyInput();
  for (size_t changes = 1 + Random(kMaxChanges); changes > 0; --changes) Change(&input);
  if (input.size() > kMaxInputBytes) input.resize(kMaxInputBytes);
  return input;
}

void Mutator::Change(std::string* input) {
  if (input->empty()) return input->push_back(static_cast<char>(random_()));
  const size_t place = Random(input->size());
  switch (Random(7)) {
    case 0:
      (*input)[place] = static_cast<char>((*input)[place] ^ (1 << Random(8)));
      return;
    case 1:
      (*input)[place] = static_cast<char>(random_());
      return;
    case 2:
      (*input)[place] = static_cast<char>(kEdgeBytes[Random(std::size(kEdgeBytes))]);
      return;
    case 3:
      input->erase(place, 1 + Random(kMaxPieceBytes));
      return;
    case 4:
      return Insert(input, input->substr(place, 1 + Random(kMaxPieceBytes)));
    case 5: {
      const std::string& other = AnyInput();
      return Insert(input, other.substr(Random(other.size() + 1), 1 + Random(kMaxPieceBytes)));
    }
    default:
      return Insert(input, std::string(1 + Random(8), static_cast<char>(random_())));
  }
}

}  // namespace viommu::fuzz
