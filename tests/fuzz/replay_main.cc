// Runs a fuzz target over its corpus and over inputs made from it, without libFuzzer: the same in
// every run, so that it can be an ordinary test.
//
// Arguments: the files of the corpus. FUZZ_RUNS: inputs made on top of them; FUZZ_SEED: other ones.
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/fuzz/mutator.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace viommu::fuzz {
namespace {

constexpr uint64_t kRuns = 2000;
constexpr uint64_t kSeed = 1;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::stoull(text);
}

std::string FolderForOutputs() {
  for (const char* name : {"TEST_UNDECLARED_OUTPUTS_DIR", "TEST_TMPDIR"}) {
    if (const char* const folder = std::getenv(name)) return folder;
  }
  return ".";
}

// Written before each run: whatever ends the process, the input that did is there.
void Run(const std::string& path, const std::string& input) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

int Replay(const std::vector<std::string>& files) {
  const uint64_t runs = FromEnvironment("FUZZ_RUNS", kRuns);
  const uint64_t seed = FromEnvironment("FUZZ_SEED", kSeed);
  const std::string last_input = FolderForOutputs() + "/last_input";
  std::cout << files.size() << " files, then FUZZ_RUNS=" << runs << " with FUZZ_SEED=" << seed
            << "; the input being run: " << last_input << std::endl;
  std::vector<std::string> corpus;
  for (const std::string& file : files) {
    std::ifstream in(file, std::ios::binary);
    if (!in) {
      std::cerr << file << ": can not be read\n";
      return 1;
    }
    corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    Run(last_input, corpus.back());
  }
  if (corpus.empty()) {
    std::cerr << "no corpus\n";
    return 1;
  }
  Mutator mutator(std::move(corpus), seed);
  for (uint64_t i = 0; i < runs; ++i) Run(last_input, mutator.Next());
  return 0;
}

}  // namespace
}  // namespace viommu::fuzz

int main(int argc, char** argv) { return viommu::fuzz::Replay({argv + 1, argv + argc}); }
