// Viommus and what belongs to them, as clients meet them.
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/backend/fake/fake_viommus.h"
#include "gtest/gtest.h"
#include "server/services_fixture.h"
#include "viommu/v1/viommu.grpc.pb.h"

namespace viommu {
namespace {

constexpr char kQueue[] = "viommus/vm/eventQueues/q";

// viommus/vm over domains/parent, with dev0 as stream 9, and an event queue of 2.
class ViommuObjectsTest : public ServicesTest {
 protected:
  using Stub = v1::ViommuService::Stub;
  using Stream = grpc::ClientReaderWriter<v1::StreamEventsRequest, v1::StreamEventsResponse>;

  ViommuObjectsTest() : ServicesTest(GuestTopology()) {
    EXPECT_TRUE(CreateIoas("vm").ok());
    v1::ClaimDeviceRequest claim;
    claim.set_name("devices/dev0");
    v1::Device device;
    EXPECT_TRUE(Call(client_->device, &v1::DeviceService::Stub::ClaimDevice, claim, &device).ok());
    v1::CreateDomainRequest parent;
    parent.set_domain_id("parent");
    parent.mutable_domain()->mutable_paging()->set_ioas("ioas/vm");
    parent.mutable_domain()->mutable_paging()->set_device("devices/dev0");
    parent.mutable_domain()->mutable_paging()->set_nest_parent(true);
    EXPECT_EQ(Make(parent), "OK ");
    v1::CreateViommuRequest viommu;
    viommu.set_viommu_id("vm");
    viommu.mutable_viommu()->set_type(v1::VIOMMU_TYPE_ARM_SMMU_V3);
    viommu.mutable_viommu()->set_device("devices/dev0");
    viommu.mutable_viommu()->set_parent("domains/parent");
    const grpc::Status made = Call(client_->viommu, &Stub::CreateViommu, viommu, &viommu_);
    EXPECT_TRUE(made.ok()) << made.error_message();
    v1::CreateVdeviceRequest vdevice;
    vdevice.set_parent("viommus/vm");
    vdevice.set_vdevice_id("nic");
    vdevice.mutable_vdevice()->set_device("devices/dev0");
    vdevice.mutable_vdevice()->set_virtual_id(9);
    EXPECT_TRUE(Call(client_->viommu, &Stub::CreateVdevice, vdevice, &vdevice_).ok());
    v1::CreateEventQueueRequest queue;
    queue.set_parent("viommus/vm");
    queue.set_event_queue_id("q");
    queue.mutable_event_queue()->set_type(v1::EVENT_TYPE_ARM_SMMU_V3);
    queue.mutable_event_queue()->set_depth(2);
    EXPECT_TRUE(Call(client_->viommu, &Stub::CreateEventQueue, queue, &queue_).ok());
  }

  std::string Make(const v1::CreateDomainRequest& request) {
    return Told(Call(client_->domain, &v1::DomainService::Stub::CreateDomain, request, &domain_));
  }
  static v1::CreateDomainRequest Guest() {
    v1::CreateDomainRequest guest;
    guest.set_domain_id("guest");
    v1::NestedDomain& nested = *guest.mutable_domain()->mutable_nested();
    nested.set_viommu("viommus/vm");
    nested.set_device("devices/dev0");
    nested.mutable_arm_smmu_v3()->set_ste_0(1 | 5 << 1);
    return guest;
  }

  void Happen(uint64_t address) {
    ViommuEvent event;
    event.viommu = std::stoull(viommu_.uid());
    event.event.id = 0x10;
    event.event.stream_id = 9;
    event.event.address = address;
    backend_.fake_viommus().Happen(event);
  }
  std::unique_ptr<Stream> Open(grpc::ClientContext* context, const std::string& name = kQueue) {
    context->set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(20)));
    auto stream = client_->viommu.StreamEvents(context);
    v1::StreamEventsRequest request;
    request.mutable_open()->set_name(name);
    EXPECT_TRUE(stream->Write(request));
    return stream;
  }
  // "0 1 lost 2" of the next message.
  static std::string Next(Stream& stream) {
    v1::StreamEventsResponse response;
    if (!stream.Read(&response)) return "end";
    std::string told;
    for (const v1::Event& event : response.events()) {
      absl::StrAppend(&told, told.empty() ? "" : " ", event.lost() ? "lost " : "",
                      event.sequence());
    }
    return told;
  }
  static void Acknowledge(Stream& stream, uint32_t sequence) {
    v1::StreamEventsRequest request;
    request.mutable_acknowledge()->set_sequence(sequence);
    EXPECT_TRUE(stream.Write(request));
  }

  v1::Viommu viommu_;
  v1::Vdevice vdevice_;
  v1::EventQueue queue_;
  v1::Domain domain_;
};

TEST_F(ViommuObjectsTest, NamesWhatBelongsToAViommuBelowIt) {
  EXPECT_EQ(viommu_.name(), "viommus/vm");
  EXPECT_EQ(viommu_.iommu(), "iommus/smmu0");
  EXPECT_EQ(vdevice_.name(), "viommus/vm/vdevices/nic");
  EXPECT_EQ(vdevice_.viommu(), "viommus/vm");
  EXPECT_EQ(queue_.name(), kQueue);
  v1::ListVdevicesRequest list;
  list.set_parent("viommus/vm");
  v1::ListVdevicesResponse vdevices;
  ASSERT_TRUE(Call(client_->viommu, &Stub::ListVdevices, list, &vdevices).ok());
  ASSERT_EQ(vdevices.vdevices_size(), 1);
  EXPECT_EQ(vdevices.vdevices(0).virtual_id(), 9u);
  v1::DeleteViommuRequest remove;
  remove.set_name("viommus/vm");
  google::protobuf::Empty empty;
  EXPECT_EQ(Told(Call(client_->viommu, &Stub::DeleteViommu, remove, &empty)),
            "FAILED_PRECONDITION IN_USE");
}

TEST_F(ViommuObjectsTest, TakesEitherAParentOrAViommu) {
  EXPECT_EQ(Make(Guest()), "OK ");
  EXPECT_EQ(domain_.nested().viommu(), "viommus/vm");
  EXPECT_EQ(domain_.nested().parent(), "domains/parent");
  EXPECT_EQ(domain_.nested().arm_smmu_v3().ste_0(), 11u);
  v1::CreateDomainRequest both = Guest();
  both.mutable_domain()->mutable_nested()->set_parent("domains/parent");
  EXPECT_EQ(Make(both), "INVALID_ARGUMENT CONFLICTING_FIELDS");
  v1::CreateDomainRequest neither = Guest();
  neither.mutable_domain()->mutable_nested()->clear_viommu();
  EXPECT_EQ(Make(neither), "INVALID_ARGUMENT MISSING_FIELD");
}

TEST_F(ViommuObjectsTest, RefusesWhatIsMissing) {
  v1::CreateViommuRequest viommu;
  EXPECT_EQ(Told(Call(client_->viommu, &Stub::CreateViommu, viommu, &viommu_)),
            "INVALID_ARGUMENT MISSING_FIELD");
  v1::CreateVdeviceRequest vdevice;
  vdevice.set_parent("viommus/vm");
  vdevice.mutable_vdevice()->set_device("devices/dev0");
  EXPECT_EQ(Told(Call(client_->viommu, &Stub::CreateVdevice, vdevice, &vdevice_)),
            "INVALID_ARGUMENT MISSING_FIELD")
      << "0 is a virtual id, none is not";
  v1::CreateHardwareQueueRequest queue;
  queue.set_parent("viommus/vm");
  v1::HardwareQueue made;
  EXPECT_EQ(Told(Call(client_->viommu, &Stub::CreateHardwareQueue, queue, &made)),
            "INVALID_ARGUMENT MISSING_FIELD");
}

TEST_F(ViommuObjectsTest, CarriesAGuestsCommandsFieldByField) {
  v1::InvalidateRequest request;
  request.set_name("viommus/vm");
  auto& commands = *request.mutable_commands()->mutable_arm_smmu_v3();
  auto& ranged = *commands.add_invalidations();
  ranged.set_opcode(v1::ARM_SMMU_V3_OPCODE_TLBI_VA);
  ranged.set_asid(3);
  ranged.mutable_range()->set_granule_bytes(4096);
  auto& atc = *commands.add_invalidations();
  atc.set_opcode(v1::ARM_SMMU_V3_OPCODE_ATC_INV);
  atc.set_stream_id(9);
  atc.set_size_log2(52);
  auto& wrong = *commands.add_invalidations();
  wrong.set_opcode(v1::ARM_SMMU_V3_OPCODE_TLBI_VA);
  wrong.mutable_range()->set_granule_bytes(8192);
  v1::InvalidateResponse response;
  const grpc::Status status = Call(client_->viommu, &Stub::Invalidate, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.handled(), 2u);
  EXPECT_EQ(ReasonIn(response.first_error()), "INVALID_COMMAND");
}

TEST_F(ViommuObjectsTest, StreamsEventsUntilTheyAreAcknowledged) {
  {
    grpc::ClientContext context;
    const auto stream = Open(&context);
    Happen(0x1000);
    EXPECT_EQ(Next(*stream), "0");
    Happen(0x2000);
    EXPECT_EQ(Next(*stream), "1");
    Acknowledge(*stream, 0);
    stream->WritesDone();
    EXPECT_EQ(Next(*stream), "end");
    EXPECT_EQ(Told(stream->Finish()), "OK ");
  }
  grpc::ClientContext context;
  const auto stream = Open(&context);
  EXPECT_EQ(Next(*stream), "1") << "under the same number";
  Acknowledge(*stream, 7);
  EXPECT_EQ(Next(*stream), "end");
  EXPECT_EQ(Told(stream->Finish()), "INVALID_ARGUMENT EVENT_NOT_TOLD");
}

TEST_F(ViommuObjectsTest, TellsWhatIsThereToWhoSendsNoMore) {
  for (int i = 0; i < 3; ++i) Happen(0);
  grpc::ClientContext context;
  const auto stream = Open(&context);
  stream->WritesDone();
  EXPECT_EQ(Next(*stream), "0 1 lost 2");
  EXPECT_EQ(Next(*stream), "end");
  EXPECT_EQ(Told(stream->Finish()), "OK ");
}

TEST_F(ViommuObjectsTest, EndsAStreamWithItsQueue) {
  grpc::ClientContext context;
  const auto stream = Open(&context);
  Happen(0);
  EXPECT_EQ(Next(*stream), "0");
  v1::DeleteEventQueueRequest remove;
  remove.set_name(kQueue);
  google::protobuf::Empty empty;
  ASSERT_TRUE(Call(client_->viommu, &Stub::DeleteEventQueue, remove, &empty).ok());
  EXPECT_EQ(Next(*stream), "end") << "although its client goes on listening";
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_NE(status.error_message().find("EVENT_QUEUE_NOT_FOUND"), std::string::npos);
}

TEST_F(ViommuObjectsTest, RefusesStreamsThatBeginWrong) {
  grpc::ClientContext context;
  const auto stream = client_->viommu.StreamEvents(&context);
  Acknowledge(*stream, 0);
  EXPECT_EQ(Next(*stream), "end");
  EXPECT_EQ(Told(stream->Finish()), "INVALID_ARGUMENT OPEN_EXPECTED");
  grpc::ClientContext other;
  const auto none = Open(&other, "viommus/vm/eventQueues/none");
  EXPECT_EQ(Next(*none), "end");
  EXPECT_EQ(Told(none->Finish()), "NOT_FOUND EVENT_QUEUE_NOT_FOUND");
}

}  // namespace
}  // namespace viommu
