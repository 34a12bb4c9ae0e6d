// server/caller.h -- Who makes the calls that come through one door.
#ifndef VIOMMU_SERVER_CALLER_H_
#define VIOMMU_SERVER_CALLER_H_

#include <string>
#include <utility>

namespace viommu {

// What operators are called; no tenant may be called so.
inline constexpr char kOperatorPrincipal[] = "local";

// As CallContext has it.
struct Caller {
  static Caller Operator() {
    return {kOperatorPrincipal, /*is_operator=*/true, /*may_claim=*/true};
  }
  static Caller Tenant(std::string owner) { return {std::move(owner), false, false}; }

  std::string principal;
  bool is_operator = false;
  bool may_claim = false;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_CALLER_H_
