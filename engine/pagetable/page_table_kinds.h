// engine/pagetable/page_table_kinds.h -- For tests: every page-table format, in the shapes that
// differ.
#ifndef VIOMMU_ENGINE_PAGETABLE_PAGE_TABLE_KINDS_H_
#define VIOMMU_ENGINE_PAGETABLE_PAGE_TABLE_KINDS_H_

#include "engine/pagetable/page_table_testing.h"
#include "gtest/gtest.h"

namespace viommu {

// Arm's with each number of levels, with a root that is used wholly or in part, and with roots of
// 1, 2 and 16 tables.
using PageTableKinds = ::testing::Types<
    VtdSecondStageKind<3>, VtdSecondStageKind<4>, VtdSecondStageKind<5>, X86FirstStageKind<4>,
    X86FirstStageKind<5>, ArmStage1Kind<12, 48, 4>, ArmStage1Kind<12, 39, 3>,
    ArmStage1Kind<12, 44, 4, true>, ArmStage1Kind<14, 48, 4>, ArmStage1Kind<14, 36, 2>,
    ArmStage1Kind<16, 48, 3>, ArmStage1Kind<16, 42, 2>, ArmStage2Kind<12, 48, 4, 0>,
    ArmStage2Kind<12, 40, 3, 1>, ArmStage2Kind<12, 43, 3, 4>, ArmStage2Kind<14, 47, 3, 0>,
    ArmStage2Kind<14, 48, 3, 1>, ArmStage2Kind<14, 40, 2, 4>, ArmStage2Kind<16, 48, 3, 0>,
    ArmStage2Kind<16, 46, 2, 4>>;

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_PAGE_TABLE_KINDS_H_
