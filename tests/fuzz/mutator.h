// tests/fuzz/mutator.h -- Makes new inputs from a corpus, the same ones for the same seed.
//
// Far weaker than libFuzzer, which sees what an input reaches; good enough to let every ordinary
// test run try the neighbourhood of the seeds.
#ifndef VIOMMU_TESTS_FUZZ_MUTATOR_H_
#define VIOMMU_TESTS_FUZZ_MUTATOR_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace viommu::fuzz {

inline constexpr size_t kMaxInputBytes = 4096;

// Thread-compatible.
class Mutator {
 public:
  // `corpus` has one input at least.
  Mutator(std::vector<std::string> corpus, uint64_t seed)
      : corpus_(std::move(corpus)), random_(seed) {}

  // An input of the corpus with a few changes; at most kMaxInputBytes.
  std::string Next();

 private:
  size_t Random(size_t below) { return static_cast<size_t>(random_() % below); }
  const std::string& AnyInput() { return corpus_[Random(corpus_.size())]; }
  void Change(std::string* input);
  void Insert(std::string* input, const std::string& what) {
    input->insert(Random(input->size() + 1), what);
  }

  const std::vector<std::string> corpus_;
  std::mt19937_64 random_;
};

}  // namespace viommu::fuzz

#endif  // VIOMMU_TESTS_FUZZ_MUTATOR_H_
