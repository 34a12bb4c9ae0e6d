// Against a server whose address spaces come and go between two calls.
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "clients/viommuctl/command_line.h"
#include "clients/viommuctl/command_table.h"
#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/invocation.h"
#include "gmock/gmock.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class Memory final : public v1::MemoryService::Service {
 public:
  grpc::Status GetMemoryRegion(grpc::ServerContext* /*context*/,
                               const v1::GetMemoryRegionRequest* request,
                               v1::MemoryRegion* region) override {
    region->set_name(request->name());
    region->set_mapping_count(2);
    return grpc::Status::OK;
  }
};

// Lists three address spaces, of which the first is gone by then; the others show "ram" once each.
class Spaces final : public v1::IoasService::Service {
 public:
  grpc::Status ListIoas(grpc::ServerContext* /*context*/, const v1::ListIoasRequest* /*request*/,
                        v1::ListIoasResponse* response) override {
    for (const char* name : {"ioas/gone", "ioas/a", "ioas/b"}) response->add_ioas()->set_name(name);
    return grpc::Status::OK;
  }
  grpc::Status ListMappings(grpc::ServerContext* /*context*/,
                            const v1::ListMappingsRequest* request,
                            v1::ListMappingsResponse* response) override {
    const absl::MutexLock lock(&mutex_);
    asked_.push_back(request->parent());
    if (request->parent() == "ioas/gone") return {code_, "gone"};
    for (const char* region : {"memoryRegions/other", "memoryRegions/ram"}) {
      response->add_mappings()->set_memory_region(region);
    }
    return grpc::Status::OK;
  }

  void FailWith(grpc::StatusCode code) {
    const absl::MutexLock lock(&mutex_);
    code_ = code;
  }
  std::vector<std::string> asked() {
    const absl::MutexLock lock(&mutex_);
    return asked_;
  }

 private:
  absl::Mutex mutex_;
  grpc::StatusCode code_ = grpc::StatusCode::NOT_FOUND;
  std::vector<std::string> asked_;
};

class DescribeRegionTest : public ::testing::Test {
 protected:
  DescribeRegionTest() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&memory_);
    builder.RegisterService(&spaces_);
    server_ = builder.BuildAndStart();
  }

  absl::Status Describe(const std::vector<std::string>& flags = {}) {
    std::vector<std::string> words = {"describe", "region", "ram",
                                      absl::StrCat("--target=127.0.0.1:", port_)};
    words.insert(words.end(), flags.begin(), flags.end());
    const std::vector<Command> commands = AllCommands();
    CommandLine line;
    absl::Status parsed = ParseCommandLine(commands, words, &line);
    if (!parsed.ok()) return parsed;
    std::ostringstream out;
    std::ostringstream err;
    Invocation call(commands, line, &out, &err);
    absl::Status status = DescribeRegion(call);
    page_ = out.str();
    return status;
  }

  Memory memory_;
  Spaces spaces_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::string page_;
};

TEST_F(DescribeRegionTest, PassesOverASpaceThatIsDeletedMeanwhile) {
  const absl::Status status = Describe();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(spaces_.asked(), ElementsAre("ioas/gone", "ioas/a", "ioas/b"));
  EXPECT_THAT(page_, HasSubstr("\n  a "));
  EXPECT_THAT(page_, HasSubstr("\n  b "));
  EXPECT_THAT(page_, Not(HasSubstr("other")));
  EXPECT_THAT(page_, Not(HasSubstr("\n  and "))) << "all of them are shown";
}

TEST_F(DescribeRegionTest, AsksForNoMoreThanItShows) {
  ASSERT_TRUE(Describe({"--limit=1"}).ok());
  EXPECT_THAT(spaces_.asked(), ElementsAre("ioas/gone", "ioas/a"));
  EXPECT_THAT(page_, HasSubstr("\n  and 1 more\n"));
}

TEST_F(DescribeRegionTest, PassesOverNoOtherError) {
  spaces_.FailWith(grpc::StatusCode::INTERNAL);
  EXPECT_EQ(Describe().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace viommu
