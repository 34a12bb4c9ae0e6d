// tests/benchmarks/samples.h -- Times of one thing, and their median: load on the machine moves
// single times, and the mean, far more.
#ifndef VIOMMU_TESTS_BENCHMARKS_SAMPLES_H_
#define VIOMMU_TESTS_BENCHMARKS_SAMPLES_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "benchmark/benchmark.h"

namespace viommu {

// In nanoseconds. Thread-compatible.
class Samples {
 public:
  template <typename Work>
  void Time(const Work& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    benchmark::ClobberMemory();
    const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - start;
    samples_.push_back(spent.count());
  }

  // There is at least one sample.
  double Median() {
    const auto middle = samples_.begin() + static_cast<int64_t>(samples_.size() / 2);
    std::nth_element(samples_.begin(), middle, samples_.end());
    return *middle;
  }

 private:
  std::vector<double> samples_;
};

}  // namespace viommu

#endif  // VIOMMU_TESTS_BENCHMARKS_SAMPLES_H_
