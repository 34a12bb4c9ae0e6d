// engine/pagetable/store.h -- The one way in which our writers store into memory that a device may
// be reading at that moment: page tables, context and PASID entries, queues.
//
// A store policy is a small copyable object that is chosen at compile time. Every store is atomic
// for the device (8 or 16 naturally aligned bytes) and ordered after all stores made before it
// (release), so that whatever a word points to is complete when the word can be seen. PlainStore
// is for production: on x86-64 Store64 is one mov. ObservedStore calls back after every single
// store, so that a test can look at memory as a device would between any two of them.
#ifndef VIOMMU_ENGINE_PAGETABLE_STORE_H_
#define VIOMMU_ENGINE_PAGETABLE_STORE_H_

#include <cstddef>
#include <cstdint>
#include <functional>

namespace viommu {

class PlainStore {
 public:
  // Stores `value` in the naturally aligned `word`.
  void Store64(uint64_t* word, uint64_t value) const {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
  }

  // Stores `low` in pair[0] and `high` in pair[1] at once; `pair` is aligned to 16 bytes.
  void Store128(uint64_t* pair, uint64_t low, uint64_t high) const {
    auto* target = reinterpret_cast<unsigned __int128*>(pair);
    const unsigned __int128 value = static_cast<unsigned __int128>(high) << 64 | low;
    // x86-64 promises no plain 16-byte store that is atomic; compare-and-exchange is. The first
    // guess may be torn: then the exchange fails once and answers what is really there.
    unsigned __int128 seen = static_cast<unsigned __int128>(Load(pair + 1)) << 64 | Load(pair);
    for (;;) {
      const unsigned __int128 found = __sync_val_compare_and_swap(target, seen, value);
      if (found == seen) return;
      seen = found;
    }
  }

  // Stores `value` if `word` still holds `seen`; else answers false and stores nothing. For words
  // in which hardware sets bits: a plain store would undo what it set since they were read.
  bool Exchange64(uint64_t* word, uint64_t seen, uint64_t value) const {
    return __atomic_compare_exchange_n(word, &seen, value, /*weak=*/false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
  }

  // Stores `first`, `first + step`, ... in `count` consecutive words, each as by Store64.
  void Fill64(uint64_t* words, uint64_t count, uint64_t first, uint64_t step) const {
    for (uint64_t i = 0; i < count; ++i, first += step) Store64(words + i, first);
  }

 private:
  static uint64_t Load(const uint64_t* word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
};

// Called after every store with the place and the width (8 or 16) of it. Must not store itself.
using StoreObserver = std::function<void(const uint64_t* place, size_t width_bytes)>;

class ObservedStore {
 public:
  // `observer` is not owned, must not be null and must outlive every copy of this object.
  explicit ObservedStore(const StoreObserver* observer) : observer_(observer) {}

  void Store64(uint64_t* word, uint64_t value) const {
    plain_.Store64(word, value);
    (*observer_)(word, sizeof(*word));
  }

  void Store128(uint64_t* pair, uint64_t low, uint64_t high) const {
    plain_.Store128(pair, low, high);
    (*observer_)(pair, 2 * sizeof(*pair));
  }

  bool Exchange64(uint64_t* word, uint64_t seen, uint64_t value) const {
    if (!plain_.Exchange64(word, seen, value)) return false;
    (*observer_)(word, sizeof(*word));
    return true;
  }

  void Fill64(uint64_t* words, uint64_t count, uint64_t first, uint64_t step) const {
    for (uint64_t i = 0; i < count; ++i, first += step) Store64(words + i, first);
  }

 private:
  PlainStore plain_;
  const StoreObserver* observer_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_STORE_H_
