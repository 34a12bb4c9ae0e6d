#include "engine/request_table.h"

#include <any>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "engine/engine_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

CallContext Request(const std::string& id, const std::string& digest = "body",
                    const std::string& principal = "alice") {
  CallContext context;
  context.principal = principal;
  context.request_id = id;
  context.request_digest = digest;
  return context;
}

// What Begin tells: "go" for a new request, the first answer, or the error.
std::string Begun(RequestTable& table, const CallContext& context) {
  const absl::StatusOr<std::any> begun = table.Begin(context);
  if (!begun.ok()) return DescribedInFull(begun.status());
  return begun->has_value() ? std::any_cast<std::string>(*begun) : "go";
}

void Answer(RequestTable& table, const std::string& id, const std::string& principal = "alice") {
  EXPECT_EQ(Begun(table, Request(id, "body", principal)), "go") << id;
  table.Succeed(Request(id, "body", principal), std::string("answer ") + id);
}

TEST(RequestTableTest, GivesARepetitionTheFirstAnswer) {
  RequestTable table;
  Answer(table, "1");
  EXPECT_EQ(Begun(table, Request("1")), "answer 1");
  EXPECT_EQ(Begun(table, Request("1")), "answer 1");
  EXPECT_EQ(Begun(table, Request("2")), "go");
  EXPECT_EQ(table.size(), 1u) << "what is under way is not remembered yet";
}

TEST(RequestTableTest, RefusesAnIdThatCameWithAnotherBody) {
  RequestTable table;
  EXPECT_EQ(Begun(table, Request("1")), "go");
  EXPECT_EQ(Begun(table, Request("1", "other")), "INVALID_ARGUMENT REQUEST_ID_REUSED request_id");
  table.Succeed(Request("1"), std::string("answer"));
  EXPECT_EQ(Begun(table, Request("1", "other")), "INVALID_ARGUMENT REQUEST_ID_REUSED request_id");
}

TEST(RequestTableTest, KeepsPrincipalsApart) {
  RequestTable table;
  Answer(table, "1", "alice");
  EXPECT_EQ(Begun(table, Request("1", "other", "bob")), "go");
}

TEST(RequestTableTest, ForgetsFailures) {
  RequestTable table;
  EXPECT_EQ(Begun(table, Request("1")), "go");
  table.Fail(Request("1"));
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(Begun(table, Request("1", "other")), "go") << "the id is free again";
}

TEST(RequestTableTest, ForgetsTheOldestOfAPrincipalAndNobodyElses) {
  RequestTable table;
  Answer(table, "0", "bob");
  for (size_t i = 0; i < kRememberedRequests; ++i) Answer(table, std::to_string(i));
  EXPECT_EQ(Begun(table, Request("0")), "answer 0");
  Answer(table, "one more");
  EXPECT_EQ(table.size(), kRememberedRequests + 1);
  EXPECT_EQ(Begun(table, Request("1")), "answer 1");
  EXPECT_EQ(Begun(table, Request("0")), "go") << "the oldest made room";
  EXPECT_EQ(Begun(table, Request("0", "body", "bob")), "answer 0");
}

TEST(RequestTableTest, ARepetitionWaitsForTheFirst) {
  const struct {
    bool succeeds;
    const char* want;
  } kCases[] = {{true, "answer"}, {false, "go"}};
  for (const auto& c : kCases) {
    RequestTable table;
    ASSERT_EQ(Begun(table, Request("1")), "go");
    std::atomic<bool> told{false};
    std::thread repetition([&] {
      EXPECT_EQ(Begun(table, Request("1")), c.want);
      told = true;
    });
    absl::SleepFor(absl::Milliseconds(10));
    EXPECT_FALSE(told);
    if (c.succeeds) {
      table.Succeed(Request("1"), std::string("answer"));
    } else {
      table.Fail(Request("1"));
    }
    repetition.join();
  }
}

TEST(RequestTableTest, ARepetitionWaitsNoLongerThanItsDeadline) {
  RequestTable table;
  ASSERT_EQ(Begun(table, Request("1")), "go");
  CallContext hurried = Request("1");
  hurried.deadline = absl::Now() + absl::Milliseconds(5);
  EXPECT_EQ(Begun(table, hurried), "DEADLINE_EXCEEDED DEADLINE_EXCEEDED");
}

class RequestIdTest : public EngineTest {
 protected:
  CallContext Once(const std::string& id, const std::string& digest = "body") {
    CallContext context = alice_;
    context.request_id = id;
    context.request_digest = digest;
    return context;
  }
};

TEST_F(RequestIdTest, ManyCallsAtOnceActOnce) {
  SetUpAlice();
  journal_.Hold();
  std::vector<std::thread> callers;
  std::vector<Iova> answers(8);
  for (size_t i = 0; i < answers.size(); ++i) {
    callers.emplace_back([&, i] {
      const auto answer = engine_->Map(Once("map"), Ref("as"), OneMap(std::nullopt, 0x1000));
      ASSERT_TRUE(answer.ok()) << answer.status();
      answers[i] = answer->iovas[0];
    });
  }
  while (journal_.held() == 0) std::this_thread::yield();
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_EQ(journal_.held(), 1u);
  journal_.Release();
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(answers, std::vector<Iova>(answers.size(), 0x1000));
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("as"))->mapping_count, 1u);
  EXPECT_EQ(journal_.records().back().request_id, "map");
}

TEST_F(RequestIdTest, AFailureMayBeTriedAgainUnderItsId) {
  EXPECT_EQ(Described(engine_->DeleteIoas(Once("delete"), Ref("as"), "")),
            "NOT_FOUND IOAS_NOT_FOUND");
  ASSERT_TRUE(engine_->CreateIoas(alice_, "as").ok());
  EXPECT_TRUE(engine_->DeleteIoas(Once("delete"), Ref("as"), "").ok());
  EXPECT_TRUE(engine_->DeleteIoas(Once("delete"), Ref("as"), "").ok()) << "answered as before";
}

TEST_F(RequestIdTest, ADryRunIsNotRemembered) {
  CallContext dry = Once("create");
  dry.validate_only = true;
  EXPECT_TRUE(engine_->CreateIoas(dry, "as").ok());
  EXPECT_EQ(engine_->Stats().remembered_requests, 0u);
  const auto created = engine_->CreateIoas(Once("create"), "as");
  ASSERT_TRUE(created.ok());
  EXPECT_EQ(engine_->Stats().remembered_requests, 1u);
  EXPECT_EQ(engine_->CreateIoas(Once("create"), "as")->object.uid, created->object.uid);
  EXPECT_EQ(Described(engine_->CreateIoas(Once("create", "other"), "bs").status()),
            "INVALID_ARGUMENT REQUEST_ID_REUSED");
}

}  // namespace
}  // namespace viommu
