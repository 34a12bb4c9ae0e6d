// tests/fuzz/memory_file.h -- A file without a name in the file system, for what reads files.
#ifndef VIOMMU_TESTS_FUZZ_MEMORY_FILE_H_
#define VIOMMU_TESTS_FUZZ_MEMORY_FILE_H_

#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tests/fuzz/check.h"

namespace viommu::fuzz {

// It is there, under a path of this process, until it is destroyed.
class MemoryFile {
 public:
  explicit MemoryFile(absl::string_view text) : descriptor_(memfd_create("fuzzed", 0)) {
    Check(descriptor_ >= 0, "no memory for a file");
    Check(write(descriptor_, text.data(), text.size()) == static_cast<ssize_t>(text.size()),
          "a short write");
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path() const { return absl::StrCat("/proc/self/fd/", descriptor_); }

 private:
  const int descriptor_;
};

}  // namespace viommu::fuzz

#endif  // VIOMMU_TESTS_FUZZ_MEMORY_FILE_H_
