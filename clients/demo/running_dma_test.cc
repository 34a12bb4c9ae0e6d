// The device behind these reads misbehaves on demand; the real one is in demo_test.py.
#include "clients/demo/running_dma.h"

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "clients/client/client.h"
#include "gmock/gmock.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu {
namespace {

using ::testing::HasSubstr;

enum class Shows { kOld, kNew, kMixture, kFault, kError };

class Device final : public v1::SimulationService::Service {
 public:
  grpc::Status Dma(grpc::ServerContext* /*context*/, const v1::DmaRequest* /*request*/,
                   v1::DmaResponse* response) override {
    switch (shows.load()) {
      case Shows::kOld:
        response->set_data("oldold");
        break;
      case Shows::kNew:
        response->set_data("newnew");
        break;
      case Shows::kMixture:
        response->set_data("oldnew");
        break;
      case Shows::kFault:
        response->mutable_fault()->set_reason("SPT.2");
        break;
      case Shows::kError:
        return {grpc::StatusCode::INTERNAL, "broken"};
    }
    return grpc::Status::OK;
  }

  std::atomic<Shows> shows{Shows::kOld};
};

class RunningDmaTest : public ::testing::Test {
 protected:
  RunningDmaTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&device_);
    server_ = builder.BuildAndStart();
    absl::StatusOr<std::unique_ptr<Client>> client =
        Client::Connect(absl::StrCat("127.0.0.1:", port));
    EXPECT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    dma_ = std::make_unique<RunningDma>(client_.get(), "devices/d", 0, "oldold", "newnew");
    EXPECT_TRUE(dma_->WaitForReads(1).ok());
  }

  // Runs a replacement during which the device shows `meanwhile`, and then the new bytes.
  void Replace(Shows meanwhile, bool hitless) {
    dma_->Replacing();
    device_.shows = meanwhile;
    EXPECT_TRUE(ReadsComeOn());
    device_.shows = Shows::kNew;
    dma_->Replaced(RunningDma::Contents::kNew, hitless);
  }

  // Enough reads for one that began after this call to have ended.
  bool ReadsComeOn() { return dma_->WaitForReads(3).code() != absl::StatusCode::kDeadlineExceeded; }

  Device device_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<RunningDma> dma_;
};

TEST_F(RunningDmaTest, CountsWhatTheReadsSaw) {
  Replace(Shows::kNew, /*hitless=*/true);
  ASSERT_TRUE(ReadsComeOn());
  const absl::StatusOr<DmaCounts> counts = dma_->Stop();
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_GE(counts->old_bytes, 1u);
  EXPECT_GE(counts->new_bytes, 4u);
  EXPECT_GE(counts->during, 2u);
  EXPECT_EQ(counts->blocked, 0u);
}

TEST_F(RunningDmaTest, AllowsFaultsOnlyWhenNotHitless) {
  Replace(Shows::kFault, /*hitless=*/false);
  ASSERT_TRUE(ReadsComeOn());
  absl::StatusOr<DmaCounts> counts = dma_->Stop();
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_GE(counts->blocked, 1u);
}

TEST_F(RunningDmaTest, RefusesFaultsOfAHitlessReplacement) {
  Replace(Shows::kFault, /*hitless=*/true);
  EXPECT_THAT(std::string(dma_->Stop().status().message()), HasSubstr("reported as hitless"));
}

TEST_F(RunningDmaTest, RefusesWhatMustNotBeSeenWhileNothingIsReplaced) {
  const struct {
    Shows shows;
    const char* want;
  } kCases[] = {{Shows::kNew, "found the new bytes when only the old bytes"},
                {Shows::kMixture, "neither old nor new"},
                {Shows::kFault, "blocked while no replacement ran: SPT.2"},
                {Shows::kError, "a read failed: INTERNAL: broken"}};
  for (const auto& c : kCases) {
    device_.shows = Shows::kOld;
    dma_ = std::make_unique<RunningDma>(client_.get(), "devices/d", 0, "oldold", "newnew");
    EXPECT_TRUE(dma_->WaitForReads(1).ok());
    device_.shows = c.shows;
    ASSERT_TRUE(ReadsComeOn());
    EXPECT_THAT(std::string(dma_->Stop().status().message()), HasSubstr(c.want));
  }
}

TEST_F(RunningDmaTest, RefusesStaleBytesAfterAReplacement) {
  Replace(Shows::kOld, /*hitless=*/true);
  device_.shows = Shows::kOld;
  ASSERT_TRUE(ReadsComeOn());
  EXPECT_THAT(std::string(dma_->Stop().status().message()),
              HasSubstr("found the old bytes when only the new bytes"));
}

TEST_F(RunningDmaTest, RefusesAMixtureEvenWhileReplacing) {
  Replace(Shows::kMixture, /*hitless=*/false);
  EXPECT_THAT(std::string(dma_->Stop().status().message()), HasSubstr("neither old nor new"));
}

}  // namespace
}  // namespace viommu
