#include "engine/backend/soft/page_request_backlog.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace viommu {
namespace {

using Request = PageRequestBacklog::Request;

Request Asked(uint32_t requester, std::optional<uint32_t> pasid, uint32_t group, bool last = true) {
  Request request;
  request.requester = requester;
  request.pasid = pasid;
  request.group = group;
  request.last = last;
  return request;
}

// "1:7 " is the last one of group 7 from requester 1, "1:7+ " one before.
std::string Named(const std::vector<Request>& requests) {
  std::string all;
  for (const Request& request : requests) {
    all += std::to_string(request.requester) + ":" + std::to_string(request.group) +
           (request.last ? " " : "+ ");
  }
  return all;
}

TEST(PageRequestBacklogTest, IsTakenInOrderAndOnce) {
  PageRequestBacklog backlog;
  EXPECT_TRUE(backlog.Add(Asked(1, 5, 7, false)));
  EXPECT_TRUE(backlog.Add(Asked(2, std::nullopt, 8)));
  EXPECT_TRUE(backlog.Add(Asked(1, 5, 7)));
  const auto taken = backlog.Take();
  EXPECT_EQ(Named(taken.requests), "1:7+ 2:8 1:7 ");
  EXPECT_FALSE(taken.broken);
  EXPECT_TRUE(backlog.Take().requests.empty());
}

TEST(PageRequestBacklogTest, HasABound) {
  PageRequestBacklog backlog;
  for (size_t i = 0; i < PageRequestBacklog::kMaxRequests; ++i) {
    ASSERT_TRUE(backlog.Add(Asked(1, std::nullopt, 1, false)));
  }
  EXPECT_FALSE(backlog.Add(Asked(1, std::nullopt, 1)));
  EXPECT_EQ(backlog.Take().requests.size(), PageRequestBacklog::kMaxRequests);
  EXPECT_TRUE(backlog.Add(Asked(1, std::nullopt, 1)));
}

// A group is one requester's and one PASID's.
TEST(PageRequestBacklogTest, KeepsGroupsThatEndedBeforeALoss) {
  PageRequestBacklog backlog;
  for (const Request& request : {Asked(1, 5, 7, false), Asked(1, 6, 7, false),
                                 Asked(2, 5, 7, false), Asked(1, std::nullopt, 7, false),
                                 Asked(1, 5, 8, false), Asked(1, 5, 7), Asked(1, 5, 7, false)}) {
    backlog.Add(request);
  }
  backlog.Break();
  auto taken = backlog.Take();
  EXPECT_TRUE(taken.broken);
  EXPECT_EQ(Named(taken.requests), "1:7+ 1:7 ");
  EXPECT_EQ(taken.requests[0].pasid, 5u);
  taken = backlog.Take();
  EXPECT_FALSE(taken.broken) << "it is told once";
}

TEST(PageRequestBacklogTest, NamesTheGroupsThatAreDueAnAnswer) {
  PageRequestBacklog backlog;
  for (const Request& request : {Asked(1, 5, 7, false), Asked(2, 5, 7), Asked(1, 5, 7),
                                 Asked(1, 6, 9), Asked(1, 5, 8, false)}) {
    backlog.Add(request);
  }
  const auto due = backlog.Drop(
      [](const Request& request) { return request.requester == 1 && request.pasid == 5u; });
  EXPECT_EQ(Named(due), "1:7 ");
  EXPECT_EQ(Named(backlog.Take().requests), "2:7 1:9 ");
}

}  // namespace
}  // namespace viommu
