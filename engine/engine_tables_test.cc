// Who may see the hardware's tables, and when.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/fake/fake_backend.h"
#include "engine/backend/table_view.h"
#include "engine/engine.h"
#include "engine/engine_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

// Answers what it is asked.
class SeenBackend : public FakeBackend, private TableObserver {
 public:
  SeenBackend() : FakeBackend(SmallTopology()) {}
  TableObserver* tables() override { return this; }
  absl::Status export_answer;

 private:
  TranslationExplanation ExplainTranslation(DeviceIndex device, std::optional<uint32_t> pasid,
                                            Iova iova, bool write) override {
    TranslationExplanation explanation;
    explanation.physical =
        PhysAddr{iova + (uint64_t{device} << 40) + (uint64_t{pasid.value_or(0)} << 20)};
    explanation.page_bytes = write ? 2 : 1;
    return explanation;
  }
  absl::StatusOr<TableImage> ExportTables() override {
    if (!export_answer.ok()) return export_answer;
    TableImage image;
    image.units.push_back({"unit0", "vtd", 46});
    return image;
  }
};

class EngineTablesTest : public EngineTest {
 protected:
  EngineTablesTest() { engine_ = *Engine::Create({"test"}, &seen_, &journal_, &env_); }
  ~EngineTablesTest() override { engine_ = nullptr; }

  SeenBackend seen_;
};

TEST_F(EngineTablesTest, ExplainsToWhoHoldsTheDeviceAndToOperators) {
  EXPECT_FALSE(engine_->ExplainTranslation(alice_, "dev0", 0x1000, false).ok());
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev0", "").ok());
  const auto read = engine_->ExplainTranslation(alice_, "dev0", 0x1000, false);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->physical.value, 0x1000u);
  EXPECT_EQ(read->page_bytes, 1u);
  EXPECT_EQ(engine_->ExplainTranslation(operator_, "dev0", 0, true)->page_bytes, 2u);
  EXPECT_FALSE(engine_->ExplainTranslation(bob_, "dev0", 0x1000, false).ok());
  EXPECT_EQ(Described(engine_->ExplainTranslation(alice_, "none", 0, false).status()),
            "NOT_FOUND DEVICE_NOT_FOUND");
}

TEST_F(EngineTablesTest, RefusesPasidsThatTheDeviceCanNotIssue) {
  EXPECT_EQ(Described(engine_->ExplainTranslation(operator_, "dev0", 0, false, 0xfffffff).status()),
            "OUT_OF_RANGE PASID_OUT_OF_RANGE");
}

TEST_F(EngineTablesTest, ExportsToOperatorsAlone) {
  EXPECT_EQ(Described(engine_->ExportTables(alice_).status()), "PERMISSION_DENIED NOT_OPERATOR");
  const auto image = engine_->ExportTables(operator_);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->units[0].iommu, "unit0");
}

TEST_F(EngineTablesTest, TellsWhyThereIsNoImage) {
  seen_.export_answer = absl::ResourceExhaustedError("too large");
  EXPECT_EQ(engine_->ExportTables(operator_).status(), seen_.export_answer);
  EXPECT_TRUE(engine_->CreateIoas(operator_, {}).ok()) << "changes go on";
}

}  // namespace
}  // namespace viommu
