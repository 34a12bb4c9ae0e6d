#include "engine/model/process_pasids.h"

namespace viommu {

std::optional<uint32_t> ProcessPasids::Take(Uid process, uint32_t highest,
                                            const std::function<bool(uint32_t)>& is_free) {
  const auto known = by_process_.find(process);
  if (known != by_process_.end()) {
    ++known->second.domains;
    return known->second.pasid;
  }
  uint32_t pasid = 1;
  while (pasid <= highest && (Has(pasid) || !is_free(pasid))) ++pasid;
  if (pasid > highest) return std::nullopt;
  by_process_[process] = {pasid, 1};
  by_pasid_[pasid] = process;
  return pasid;
}

void ProcessPasids::GiveBack(Uid process) {
  const auto use = by_process_.find(process);
  if (--use->second.domains > 0) return;
  by_pasid_.erase(use->second.pasid);
  by_process_.erase(use);
}

std::optional<uint32_t> ProcessPasids::Of(Uid process) const {
  const auto use = by_process_.find(process);
  if (use == by_process_.end()) return std::nullopt;
  return use->second.pasid;
}

}  // namespace viommu
