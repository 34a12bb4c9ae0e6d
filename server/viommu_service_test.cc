#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/services_fixture.h"
#include "viommu/v1/viommu.grpc.pb.h"

namespace viommu {
namespace {

// domains/parent, a nest parent for dev0, and domains/guest nested on it.
class ViommuServiceTest : public ServicesTest {
 protected:
  using Stub = v1::ViommuService::Stub;
  using Stream =
      grpc::ClientReaderWriter<v1::StreamInvalidationsRequest, v1::StreamInvalidationsResponse>;

  ViommuServiceTest() : stub_(client_->channel) {
    EXPECT_TRUE(CreateIoas("vm0").ok());
    v1::ClaimDeviceRequest claim;
    claim.set_name("devices/dev0");
    v1::Device device;
    EXPECT_TRUE(Call(client_->device, &v1::DeviceService::Stub::ClaimDevice, claim, &device).ok());
    v1::CreateDomainRequest parent;
    parent.set_domain_id("parent");
    parent.mutable_domain()->mutable_paging()->set_ioas("ioas/vm0");
    parent.mutable_domain()->mutable_paging()->set_device("devices/dev0");
    parent.mutable_domain()->mutable_paging()->set_nest_parent(true);
    Make(parent);
    MakeGuest();
    context_.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(20)));
    stream_ = stub_.StreamInvalidations(&context_);
  }

  void Make(const v1::CreateDomainRequest& request) {
    v1::Domain domain;
    const grpc::Status made =
        Call(client_->domain, &v1::DomainService::Stub::CreateDomain, request, &domain);
    ASSERT_TRUE(made.ok()) << made.error_message();
  }

  void MakeGuest() {
    v1::CreateDomainRequest guest;
    guest.set_domain_id("guest");
    guest.mutable_domain()->mutable_nested()->set_parent("domains/parent");
    guest.mutable_domain()->mutable_nested()->set_device("devices/dev0");
    guest.mutable_domain()->mutable_nested()->mutable_vtd()->set_address_width_bits(48);
    Make(guest);
  }

  static v1::InvalidationCommands Pages(std::initializer_list<uint64_t> addresses) {
    v1::InvalidationCommands commands;
    for (const uint64_t address : addresses) {
      auto* const one = commands.mutable_vtd()->add_invalidations();
      one->set_address(address);
      one->set_page_count(1);
    }
    return commands;
  }

  void Open(const std::string& name) {
    v1::StreamInvalidationsRequest request;
    request.mutable_open()->set_name(name);
    EXPECT_TRUE(stream_->Write(request));
  }
  void Send(uint64_t sequence, const v1::InvalidationCommands& commands) {
    v1::StreamInvalidationsRequest request;
    request.mutable_batch()->set_sequence(sequence);
    *request.mutable_batch()->mutable_commands() = commands;
    EXPECT_TRUE(stream_->Write(request));
  }
  // "SEQUENCE handled N", and " CODE REASON" of the first error.
  std::string Next() {
    v1::StreamInvalidationsResponse response;
    if (!stream_->Read(&response)) return "end";
    std::string told = absl::StrCat(response.sequence(), " handled ", response.handled());
    if (!response.has_first_error()) return told;
    const auto code = static_cast<absl::StatusCode>(response.first_error().code());
    return absl::StrCat(told, " ", absl::StatusCodeToString(code), " ",
                        ReasonIn(response.first_error()));
  }
  std::string Finish() {
    stream_->WritesDone();
    while (Next() != "end") {
    }
    return Told(stream_->Finish());
  }
  size_t Invalidations() {
    size_t count = 0;
    for (const std::string& line : backend_.log()) count += line.rfind("Invalidate", 0) == 0;
    return count;
  }

  Stub stub_;
  grpc::ClientContext context_;
  std::unique_ptr<Stream> stream_;
};

TEST_F(ViommuServiceTest, InvalidateTellsHowManyCommandsItHandled) {
  v1::InvalidateRequest request;
  request.set_name("domains/guest");
  *request.mutable_commands() = Pages({0x1000, 0x2000, 0x3001, 0x4000});
  v1::InvalidateResponse response;
  ASSERT_TRUE(Call(stub_, &Stub::Invalidate, request, &response).ok());
  EXPECT_EQ(response.handled(), 2u);
  EXPECT_EQ(ReasonIn(response.first_error()), "MISALIGNED");
  EXPECT_EQ(Invalidations(), 1u) << "the first two, together";
}

TEST_F(ViommuServiceTest, AnswersEachBatchOfAStreamInOrder) {
  Open("domains/guest");
  Send(1, Pages({0x1000}));
  Send(2, Pages({0x1000, 0x2001, 0x3000}));
  Send(7, Pages({}));
  Send(8, Pages({0x4000, 0x5000}));
  EXPECT_EQ(Next(), "1 handled 1");
  EXPECT_EQ(Next(), "2 handled 1 INVALID_ARGUMENT MISALIGNED");
  EXPECT_EQ(Next(), "7 handled 0");
  EXPECT_EQ(Next(), "8 handled 2") << "a wrong command ends no stream";
  EXPECT_EQ(Invalidations(), 3u);
  EXPECT_EQ(Finish(), "OK ");
}

TEST_F(ViommuServiceTest, HandlesNothingOfABatchOutOfSequence) {
  Open("domains/guest");
  Send(5, Pages({0x1000}));
  Send(5, Pages({0x2000}));
  Send(6, Pages({0x2000}));
  EXPECT_EQ(Next(), "5 handled 1");
  EXPECT_EQ(Next(), "5 handled 0 INVALID_ARGUMENT SEQUENCE_NOT_ASCENDING");
  EXPECT_EQ(Next(), "6 handled 1");
  EXPECT_EQ(Invalidations(), 2u);
}

TEST_F(ViommuServiceTest, AFailedFlushHandlesNothing) {
  Open("domains/guest");
  backend_.SetHook([](const std::string& verb) {
    return verb == "Invalidate" ? absl::InternalError("no answer") : absl::OkStatus();
  });
  Send(1, Pages({0x1000}));
  EXPECT_EQ(Next(), "1 handled 0 INTERNAL INTERNAL");
  backend_.SetHook(nullptr);
  Send(2, Pages({0x1000}));
  EXPECT_EQ(Next(), "2 handled 1");
}

TEST_F(ViommuServiceTest, DoesNotGoOnInADomainThatGotTheName) {
  Open("domains/guest");
  Send(1, Pages({0x1000}));
  EXPECT_EQ(Next(), "1 handled 1");
  v1::DeleteDomainRequest remove;
  remove.set_name("domains/guest");
  google::protobuf::Empty empty;
  ASSERT_TRUE(Call(client_->domain, &v1::DomainService::Stub::DeleteDomain, remove, &empty).ok());
  MakeGuest();
  Send(2, Pages({0x1000}));
  EXPECT_EQ(Next(), "2 handled 0 NOT_FOUND DOMAIN_NOT_FOUND");
  EXPECT_EQ(Invalidations(), 1u);
}

TEST_F(ViommuServiceTest, EndsAStreamThatDoesNotBegin) {
  Send(1, Pages({0x1000}));
  EXPECT_EQ(Finish(), "INVALID_ARGUMENT OPEN_EXPECTED");
}

TEST_F(ViommuServiceTest, EndsAStreamOfADomainWithoutAGuestsStage) {
  Open("domains/parent");
  EXPECT_EQ(Finish(), "FAILED_PRECONDITION NOT_NESTED");
}

TEST_F(ViommuServiceTest, EndsAStreamThatIsOpenedTwice) {
  Open("domains/guest");
  Open("domains/guest");
  EXPECT_EQ(Finish(), "INVALID_ARGUMENT UNEXPECTED_OPEN");
}

TEST_F(ViommuServiceTest, CommandsOfAnotherArchitectureAreUnimplemented) {
  v1::InvalidateRequest request;
  request.set_name("domains/guest");
  request.mutable_commands()->mutable_arm_smmu_v3()->add_invalidations();
  v1::InvalidateResponse response;
  EXPECT_EQ(Told(Call(stub_, &Stub::Invalidate, request, &response)),
            "UNIMPLEMENTED COMMANDS_UNAVAILABLE");
}

}  // namespace
}  // namespace viommu
