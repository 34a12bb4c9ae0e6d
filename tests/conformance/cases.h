// tests/conformance/cases.h -- The rows of the suite, by what of the reference they are about.
#ifndef VIOMMU_TESTS_CONFORMANCE_CASES_H_
#define VIOMMU_TESTS_CONFORMANCE_CASES_H_

#include <utility>
#include <vector>

#include "tests/conformance/case.h"

namespace viommu::conformance {

std::vector<Case> CommonCases();    // Section 1: ids, references, unknown fields.
std::vector<Case> IoasCases();      // 3.2-3.4, 3.10, 3.13.
std::vector<Case> MapCases();       // 3.5, Map and the choice of addresses (3.6).
std::vector<Case> CopyCases();      // 3.5, CopyMappings.
std::vector<Case> UnmapCases();     // 3.7.
std::vector<Case> DomainCases();    // 4: PAGING domains.
std::vector<Case> ClaimCases();     // 5.1, 5.2.
std::vector<Case> AttachCases();    // 5.3-5.8 for requests without PASID.
std::vector<Case> ReservedCases();  // 7, 8.
std::vector<Case> HostCases();      // 13, 15.
std::vector<Case> OptionCases();    // 3.8, 3.9, 14.
std::vector<Case> MemoryCases();    // 3.5, 7: memory that goes, regions that are loaded.
std::vector<Case> StageCases();     // 4.3, 4.9, 20: flags of PAGING domains, what stages can hold.
std::vector<Case> NestedCases();    // 4.2, 4.4, 4.7, 7: NESTED domains.
std::vector<Case> AutoCases();      // 4.6.
std::vector<Case> PasidCases();     // 5.3-5.6 for PASIDs.
std::vector<Case> PasidTableCases();  // 5.6: which PASIDs are taken.
std::vector<Case> GuestCases();       // 5.9, 10: invalidation, resets; watches.
std::vector<Case> DirtyCases();       // 4.9, 9: which pages devices write.
std::vector<Case> ViommuCases();      // 4.5, 12: Viommus, where there are none.
std::vector<Case> VfioCases();        // 5.8.
std::vector<Case> SmmuCases();  // What an SMMUv3 answers to rows that are VT-d's, of any section.
std::vector<Case> SmmuViommuCases();  // 12, 10: Viommus, where there are some.
std::vector<Case> VsteCases();        // 4.5: NESTED domains on Viommus.
std::vector<Case> FaultCases();       // 11: page faults.
std::vector<Case> SmmuStallCases();   // 11: faults of what stalls behind an SMMUv3.

inline std::vector<Case> AllCases() {
  std::vector<Case> all;
  for (auto* const cases :
       {CommonCases, IoasCases,     MapCases,        CopyCases,  UnmapCases,      DomainCases,
        ClaimCases,  AttachCases,   ReservedCases,   HostCases,  OptionCases,     MemoryCases,
        StageCases,  NestedCases,   AutoCases,       PasidCases, PasidTableCases, GuestCases,
        DirtyCases,  ViommuCases,   SmmuViommuCases, VsteCases,  VfioCases,       SmmuCases,
        FaultCases,  SmmuStallCases}) {
    for (Case& row : cases()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace viommu::conformance

#endif  // VIOMMU_TESTS_CONFORMANCE_CASES_H_
