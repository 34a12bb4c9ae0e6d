// tests/differential/requests.h -- Which request_ids are remembered, and with what answers.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_REQUESTS_H_
#define VIOMMU_TESTS_DIFFERENTIAL_REQUESTS_H_

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "tests/differential/answer.h"
#include "tests/differential/step.h"

namespace viommu::differential {

// The reference's: the last kRememberedRequests successes of each principal (R7).
class Requests {
 public:
  // What is answered without carrying the step out: the first answer, or that the id is another
  // request's. nullopt: it is new.
  std::optional<Answer> Look(const Step& step) const;
  void Succeeded(const Step& step, const Answer& answer);

  size_t size() const { return remembered_.size(); }

 private:
  using Key = std::pair<Caller, uint32_t>;
  struct Remembered {
    std::string digest;
    Answer answer;
  };

  std::map<Key, Remembered> remembered_;
  std::map<Caller, std::deque<uint32_t>> in_order_;
};

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_REQUESTS_H_
