// The frontend's bars P6 and P8: calls and streams over a unix socket, client and server in one
// process, against calls and streams that do nothing on the same server and connection.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "google/protobuf/empty.pb.h"
#include "grpcpp/grpcpp.h"
#include "tests/benchmarks/empty.grpc.pb.h"
#include "tests/benchmarks/samples.h"
#include "tests/benchmarks/serving.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/mapping.grpc.pb.h"

namespace viommu {
namespace {

using google::protobuf::Empty;

constexpr uint64_t kPage = 4096;
constexpr uint64_t kFirstIova = uint64_t{256} << 30;

// ---- Unary

// Calls of one method, some of them in the air at once, from one thread.
template <typename Request, typename Response>
class Caller {
 public:
  using Reader = grpc::ClientAsyncResponseReader<Response>;
  using Start = std::function<std::unique_ptr<Reader>(grpc::ClientContext*, const Request&,
                                                      grpc::CompletionQueue*)>;

  Caller(int outstanding, Start start) : start_(std::move(start)) {
    for (int i = 0; i < outstanding; ++i) slots_.push_back(std::make_unique<Slot>());
  }

  // Makes one call for each request; all have succeeded.
  void Run(const std::vector<Request>& requests) {
    size_t next = 0;
    for (; next < slots_.size() && next < requests.size(); ++next)
      Begin(*slots_[next], requests[next]);
    for (size_t answered = 0; answered < requests.size(); ++answered) {
      void* tag = nullptr;
      bool ok = false;
      Require(queue_.Next(&tag, &ok) && ok, "the connection is gone");
      Slot& slot = *static_cast<Slot*>(tag);
      Require(slot.status.ok(), slot.status.error_message());
      if (next < requests.size()) Begin(slot, requests[next++]);
    }
  }

 private:
  struct Slot {
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<Reader> reader;
    Response response;
    grpc::Status status;
  };

  void Begin(Slot& slot, const Request& request) {
    slot.reader.reset();
    slot.context = std::make_unique<grpc::ClientContext>();
    slot.reader = start_(slot.context.get(), request, &queue_);
    slot.reader->Finish(&slot.response, &slot.status, &slot);
  }

  const Start start_;
  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<Slot>> slots_;
};

std::vector<v1::MapRequest> OnePageEach(uint64_t count) {
  std::vector<v1::MapRequest> requests(count);
  for (uint64_t i = 0; i < count; ++i) {
    requests[i].set_name("ioas/as");
    v1::MapEntry* entry = requests[i].add_mappings();
    entry->set_iova(kFirstIova + i * kPage);
    entry->set_memory_region("memoryRegions/ram");
    entry->set_offset(i * kPage);
    entry->set_length(kPage);
  }
  return requests;
}

std::vector<v1::UnmapRequest> Undoing(const std::vector<v1::MapRequest>& maps) {
  std::vector<v1::UnmapRequest> requests(maps.size());
  for (size_t i = 0; i < maps.size(); ++i) {
    requests[i].set_name("ioas/as");
    v1::UnmapEntry* range = requests[i].add_ranges();
    range->set_iova(maps[i].mappings(0).iova());
    range->set_length(kPage);
  }
  return requests;
}

// P8 >= 0.8: calls a second that map one page, against calls that do nothing.
void P8UnaryMap(benchmark::State& state) {
  constexpr int kCalls = 256;
  const auto outstanding = static_cast<int>(state.range(0));
  Serving serving;
  benchmarks::EmptyService::Stub& empty_stub = serving.empty();
  v1::IoasService::Stub& ioas = serving.client().Of<v1::IoasService>();
  Caller<Empty, Empty> empty(outstanding, [&](auto* context, const auto& request, auto* queue) {
    return empty_stub.AsyncCall(context, request, queue);
  });
  Caller<v1::MapRequest, v1::MapResponse> map(outstanding,
                                              [&](auto* context, const auto& request, auto* queue) {
                                                return ioas.AsyncMap(context, request, queue);
                                              });
  Caller<v1::UnmapRequest, v1::UnmapResponse> unmap(
      outstanding, [&](auto* context, const auto& request, auto* queue) {
        return ioas.AsyncUnmap(context, request, queue);
      });
  const std::vector<Empty> nothing(kCalls);
  const std::vector<v1::MapRequest> maps = OnePageEach(kCalls);
  const std::vector<v1::UnmapRequest> unmaps = Undoing(maps);
  Samples of_empty, of_map, of_unmap;
  for ([[maybe_unused]] auto _ : state) {
    of_empty.Time([&] { empty.Run(nothing); });
    of_map.Time([&] { map.Run(maps); });
    of_unmap.Time([&] { unmap.Run(unmaps); });
  }
  const auto per_second = [](Samples& samples) { return kCalls * 1e9 / samples.Median(); };
  state.counters["P8_ratio"] = of_empty.Median() / of_map.Median();
  state.counters["unmap_ratio"] = of_empty.Median() / of_unmap.Median();
  state.counters["empty_per_s"] = per_second(of_empty);
  state.counters["map_per_s"] = per_second(of_map);
  state.counters["unmap_per_s"] = per_second(of_unmap);
}
BENCHMARK(P8UnaryMap)
    ->ArgName("outstanding")
    ->Arg(1)
    ->Arg(64)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

// ---- Stream

constexpr int kBatchEntries = 256;
constexpr size_t kInFlight = 8;

using Requests = std::vector<v1::StreamMappingsRequest>;
using Stream = grpc::ClientReaderWriter<v1::StreamMappingsRequest, v1::StreamMappingsResponse>;

// Batches of neighbouring pages, that nowhere in memory are neighbours.
Requests MapBatches(int count) {
  Requests requests(count);
  for (int batch = 0; batch < count; ++batch) {
    v1::MapBatch& map = *requests[batch].mutable_map();
    for (int i = 0; i < kBatchEntries; ++i) {
      map.add_iova(kFirstIova + (static_cast<uint64_t>(batch) * kBatchEntries + i) * kPage);
      map.add_offset(static_cast<uint64_t>(i) * 167 % kBatchEntries * kPage);
    }
    map.add_length(kPage);
  }
  return requests;
}

Requests Undoing(const Requests& maps) {
  Requests requests(maps.size());
  for (size_t batch = 0; batch < maps.size(); ++batch) {
    v1::UnmapBatch& unmap = *requests[batch].mutable_unmap();
    *unmap.mutable_iova() = maps[batch].map().iova();
    unmap.add_length(kPage);
  }
  return requests;
}

// Writes and reads one stream, with kInFlight batches unanswered.
class Talk {
 public:
  explicit Talk(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}
  ~Talk() {
    stream_->WritesDone();
    const grpc::Status status = stream_->Finish();
    Require(status.ok(), status.error_message());
  }

  // Sends each batch under the next sequence number; all are done.
  void Run(Requests& requests) {
    size_t sent = 0;
    v1::StreamMappingsResponse response;
    for (size_t answered = 0; answered < requests.size(); ++answered) {
      for (; sent < requests.size() && sent < answered + kInFlight; ++sent) Send(requests[sent]);
      Require(stream_->Read(&response), "the stream has ended");
      Require(!response.has_status(), response.status().message());
    }
  }

 private:
  void Send(v1::StreamMappingsRequest& request) {
    if (request.has_map()) request.mutable_map()->set_sequence(++sequence_);
    if (request.has_unmap()) request.mutable_unmap()->set_sequence(++sequence_);
    Require(stream_->Write(request), "the stream is gone");
  }

  const std::unique_ptr<Stream> stream_;
  uint64_t sequence_ = 0;
};

v1::StreamMappingsRequest OpenRequest() {
  v1::StreamMappingsRequest request;
  request.mutable_open()->set_name("ioas/as");
  request.mutable_open()->set_default_memory_region("memoryRegions/ram");
  return request;
}

// P6 >= 0.6: operations a second of a stream of batches, half maps and half unmaps, against a
// stream that reads the same batches and does nothing.
void P6Stream(benchmark::State& state) {
  constexpr int kBatches = 64;
  Serving serving;
  grpc::ClientContext of_mapping, of_nothing;
  std::unique_ptr<Stream> opened =
      serving.client().Of<v1::MappingService>().StreamMappings(&of_mapping);
  Require(opened->Write(OpenRequest()), "the stream can not be opened");
  Talk mapping(std::move(opened));
  Talk nothing(serving.empty().Stream(&of_nothing));
  Requests maps = MapBatches(kBatches);
  Requests unmaps = Undoing(maps);
  Samples map, unmap, empty_map, empty_unmap;
  for ([[maybe_unused]] auto _ : state) {
    empty_map.Time([&] { nothing.Run(maps); });
    map.Time([&] { mapping.Run(maps); });
    empty_unmap.Time([&] { nothing.Run(unmaps); });
    unmap.Time([&] { mapping.Run(unmaps); });
  }
  const auto millions_per_second = [](double ns) { return kBatches * kBatchEntries * 1e3 / ns; };
  const double empty_ns = (empty_map.Median() + empty_unmap.Median()) / 2;
  const double ours_ns = (map.Median() + unmap.Median()) / 2;
  state.counters["P6_ratio"] = empty_ns / ours_ns;
  state.counters["map_ratio"] = empty_map.Median() / map.Median();
  state.counters["unmap_ratio"] = empty_unmap.Median() / unmap.Median();
  state.counters["empty_M_per_s"] = millions_per_second(empty_ns);
  state.counters["ours_M_per_s"] = millions_per_second(ours_ns);
}
BENCHMARK(P6Stream)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace viommu
