#include "engine/model/object_table.h"

#include <memory>
#include <string>
#include <vector>

#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr ObjectKind kRegion = ObjectKind::kMemoryRegion;
constexpr ObjectKind kIoas = ObjectKind::kIoas;
constexpr ObjectKind kDomain = ObjectKind::kDomain;

absl::StatusOr<Object*> Reserve(ObjectTable& table, const std::string& owner, ObjectKind kind,
                                const std::string& id) {
  return table.Reserve(std::make_unique<Object>(kind, owner, id, table.NextUid()));
}

Object* MakeLive(ObjectTable& table, const std::string& owner, ObjectKind kind,
                 const std::string& id) {
  Object* const object = *Reserve(table, owner, kind, id);
  object->state = Object::State::kLive;
  return object;
}

std::vector<std::string> Visited(const ObjectTable& table, ObjectKind kind,
                                 const std::optional<std::string>& only = std::nullopt,
                                 const std::pair<std::string, std::string>& after = {"", ""}) {
  std::vector<std::string> names;
  table.Visit(kind, only, after, [&](Object& object) {
    names.push_back(object.owner() + "/" + object.id());
    return true;
  });
  return names;
}

TEST(ObjectTableTest, FindsOnlyWhatIsLive) {
  ObjectTable table;
  Object* const object = *Reserve(table, "alice", kIoas, "x");
  const struct {
    Object::State state;
    bool found;
  } kCases[] = {{Object::State::kReserved, false},
                {Object::State::kLive, true},
                {Object::State::kDestroying, false}};
  for (const auto& c : kCases) {
    object->state = c.state;
    EXPECT_EQ(table.FindLive("alice", kIoas, "x"), c.found ? object : nullptr);
    EXPECT_EQ(Visited(table, kIoas).size(), c.found ? 1u : 0u);
    EXPECT_EQ(table.CountLive(kIoas), c.found ? 1u : 0u);
    EXPECT_EQ(table.FindByUid(object->uid()), object) << "by uid in any state";
  }
}

TEST(ObjectTableTest, KeepsANameTakenInEveryState) {
  ObjectTable table;
  Object* const object = *Reserve(table, "alice", kIoas, "x");
  for (const auto state :
       {Object::State::kReserved, Object::State::kLive, Object::State::kDestroying}) {
    object->state = state;
    const absl::Status second = Reserve(table, "alice", kIoas, "x").status();
    EXPECT_EQ(second.code(), absl::StatusCode::kAlreadyExists);
    EXPECT_EQ(DetailOf(second)->reason, "IOAS_EXISTS");
    EXPECT_EQ(DetailOf(second)->resource, "ioas/x");
    EXPECT_EQ(table.FindByUid(object->uid()), object);
  }
}

TEST(ObjectTableTest, KeepsOwnersAndKindsApart) {
  ObjectTable table;
  Object* const alices = MakeLive(table, "alice", kIoas, "x");
  Object* const bobs = MakeLive(table, "bob", kIoas, "x");
  Object* const region = MakeLive(table, "alice", kRegion, "x");
  EXPECT_EQ(table.FindLive("alice", kIoas, "x"), alices);
  EXPECT_EQ(table.FindLive("bob", kIoas, "x"), bobs);
  EXPECT_EQ(table.FindLive("alice", kRegion, "x"), region);
  EXPECT_EQ(table.FindLive("alice", kDomain, "x"), nullptr);
  EXPECT_EQ(table.FindLive("carol", kIoas, "x"), nullptr);
}

TEST(ObjectTableTest, FreesTheNameButNeverTheUidOfWhatIsErased) {
  ObjectTable table;
  const Uid first = MakeLive(table, "alice", kIoas, "x")->uid();
  table.Erase(first);
  EXPECT_EQ(table.FindByUid(first), nullptr);
  EXPECT_EQ(table.FindLive("alice", kIoas, "x"), nullptr);
  const Uid second = MakeLive(table, "alice", kIoas, "x")->uid();
  EXPECT_GT(second, first);
  table.Erase(first);  // Gone already: nothing happens.
  EXPECT_NE(table.FindLive("alice", kIoas, "x"), nullptr);
}

TEST(ObjectTableTest, VisitsInTheOrderOfOwnerAndId) {
  ObjectTable table;
  for (const char* const id : {"b", "c", "a"}) {
    MakeLive(table, "bob", kIoas, id);
    MakeLive(table, "alice", kIoas, id);
    MakeLive(table, "alice", kDomain, id);
  }
  using Names = std::vector<std::string>;
  EXPECT_EQ(Visited(table, kIoas),
            (Names{"alice/a", "alice/b", "alice/c", "bob/a", "bob/b", "bob/c"}));
  const struct {
    const char* name;
    std::optional<std::string> only;
    std::pair<std::string, std::string> after;
    Names want;
  } kCases[] = {
      {"after one", std::nullopt, {"alice", "b"}, {"alice/c", "bob/a", "bob/b", "bob/c"}},
      {"after a name that is gone",
       std::nullopt,
       {"alice", "bb"},
       {"alice/c", "bob/a", "bob/b", "bob/c"}},
      {"after the last", std::nullopt, {"bob", "c"}, {}},
      {"one owner", "bob", {"", ""}, {"bob/a", "bob/b", "bob/c"}},
      {"one owner, resumed", "alice", {"alice", "a"}, {"alice/b", "alice/c"}},
      {"one owner, after an earlier owner's", "bob", {"alice", "b"}, {"bob/a", "bob/b", "bob/c"}},
      {"one owner, after a later owner's", "alice", {"bob", "a"}, {}},
      {"nobody's", "carol", {"", ""}, {}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(Visited(table, kIoas, c.only, c.after), c.want);
  }
}

TEST(ObjectTableTest, StopsVisitingWhenToldTo) {
  ObjectTable table;
  for (const char* const id : {"a", "b", "c"}) MakeLive(table, "alice", kIoas, id);
  int visits = 0;
  table.Visit(kIoas, std::nullopt, {"", ""}, [&](Object&) { return ++visits < 2; });
  EXPECT_EQ(visits, 2);
}

}  // namespace
}  // namespace viommu
