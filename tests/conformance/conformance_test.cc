// tests/conformance/conformance_test.cc -- Runs every row against a real daemon, and counts them.
//
//   bazel test //tests/conformance/...
//   conformance_test --architecture=vtd|smmu-v3 [--address=TARGET [--devices=PART=ID,...]]
//
// Without an address it starts a viommud over a host of the architecture, vtd.textproto or
// smmu_v3.textproto. With one it runs against a daemon that is there, whatever its backend, as an
// operator; rows whose devices it lacks are skipped. Rows about another architecture are left out.
// Which devices play which part says --devices; a device must be free and otherwise unused.
#include <cctype>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "clients/client/call_error.h"
#include "clients/client/client.h"
#include "gtest/gtest.h"
#include "tests/conformance/cases.h"
#include "tests/conformance/check.h"
#include "tests/conformance/daemon.h"
#include "tests/conformance/snapshot.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu::conformance {
namespace {

// Of the command line, which is read before the rows are asked for.
Architecture architecture = Architecture::kVtd;

std::vector<Case> RowsToRun() {
  std::vector<Case> rows;
  for (Case& row : AllCases()) {
    if (AppliesTo(row, architecture)) rows.push_back(std::move(row));
  }
  return rows;
}

// Sections of the reference with checks that apply to this API, and what it has beyond them.
constexpr const char* kSections[] = {
    "1.2",  "1.3",  "1.4",  "3.2",  "3.3",  "3.4",  "3.5", "3.6", "3.7", "3.8", "3.9",
    "3.10", "3.13", "4.2",  "4.3",  "4.4",  "4.5",  "4.6", "4.7", "4.8", "4.9", "5.1",
    "5.2",  "5.3",  "5.4",  "5.5",  "5.6",  "5.7",  "5.8", "5.9", "7",   "8",   "9",
    "10",   "11",   "12.1", "12.2", "12.3", "12.4", "13",  "14",  "15",  "20",  "watch",
};

std::string SectionOf(const Case& row) {
  return std::string(*absl::StrSplit(row.section, '/').begin());
}

// What the whole run shares: the target, and what came of the rows.
class Suite : public testing::Environment {
 public:
  Suite(std::string address, std::map<std::string, std::string> devices)
      : address_(std::move(address)) {
    target_.devices = std::move(devices);
    target_.architecture = architecture;
  }

  void SetUp() override {
    if (address_.empty()) StartDaemon();
    ASSERT_FALSE(testing::Test::HasFatalFailure());
    auto client = Client::Connect(address_, ConnectOptions());
    ASSERT_TRUE(client.ok()) << client.status() << (daemon_ ? daemon_->Log() : "");
    client_ = *std::move(client);
    target_.client = client_.get();
    v1::ReadMemoryRequest nothing;
    nothing.set_name("memoryRegions/conf-none");
    nothing.set_length(1);
    target_.simulated =
        client_->Call(&v1::SimulationService::Stub::ReadMemory, nothing).status().code() !=
        absl::StatusCode::kUnimplemented;
    v1::ListDevicesRequest request;
    request.set_page_size(1000);
    const auto devices = client_->Call(&v1::DeviceService::Stub::ListDevices, request);
    ASSERT_TRUE(devices.ok()) << devices.status();
    for (const v1::Device& device : devices->devices()) {
      target_.present.insert(std::string(absl::StripPrefix(device.name(), "devices/")));
    }
  }

  void TearDown() override {
    client_.reset();
    if (daemon_ != nullptr) {
      EXPECT_EQ(daemon_->Stop(), 0) << daemon_->Log();
    }
    std::cout << (architecture == Architecture::kVtd ? "VT-d" : "SMMUv3")
              << ": cases by section of the reference:";
    int total = 0;
    for (const auto& [section, count] : run_) {
      std::cout << " " << section << ":" << count;
      total += count;
    }
    std::cout << "\ncases run: " << total
              << ", without probes for lack of a simulation: " << (target_.simulated ? 0 : total)
              << ", skipped for lack of devices: " << skipped_ << "\n";
  }

  const Target& target() const { return target_; }
  void CountRun(const Case& row) { ++run_[SectionOf(row)]; }
  void CountSkipped() { ++skipped_; }

 private:
  void StartDaemon() {
    const char* const folder = std::getenv("TEST_SRCDIR");
    const char* const workspace = std::getenv("TEST_WORKSPACE");
    ASSERT_TRUE(folder != nullptr && workspace != nullptr) << "not run by Bazel: give --address";
    const std::string root = absl::StrCat(folder, "/", workspace, "/");
    const char* const host =
        architecture == Architecture::kVtd ? "vtd.textproto" : "smmu_v3.textproto";
    auto daemon = Daemon::Start(root + "server/viommud", root + "tests/conformance/" + host);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    daemon_ = *std::move(daemon);
    address_ = daemon_->target();
  }

  // Also enough under a sanitizer, on a machine that compiles meanwhile.
  static ClientOptions ConnectOptions() {
    ClientOptions options;
    options.connect_timeout = absl::Seconds(60);
    return options;
  }

  std::string address_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<Client> client_;
  Target target_;
  std::map<std::string, int> run_;
  int skipped_ = 0;
};

Suite* suite = nullptr;  // Owned by GoogleTest; set before any test runs.

class ConformanceTest : public testing::TestWithParam<Case> {
 protected:
  ConformanceTest() : world_(&suite->target()) {}

  // Whether every part of the case is played.
  bool Playable() const { return world_.missing().empty(); }

  std::vector<std::string> Seen() {
    auto seen = TakeSnapshot(world_);
    EXPECT_TRUE(seen.ok()) << seen.status();
    return seen.ok() ? *std::move(seen) : std::vector<std::string>();
  }

  void RunRow(const Case& row) {
    for (size_t i = 0; i < row.set_up.size(); ++i) {
      const absl::Status status = row.set_up[i](world_);
      if (!Playable()) return;
      ASSERT_TRUE(status.ok()) << "set-up step " << i << ": " << Explain(status);
    }
    const std::vector<std::string> before = Seen();
    world_.set_validate_only(true);
    const absl::Status foretold = row.call(world_);
    world_.set_validate_only(false);
    if (!Playable()) return;
    Compare(row, foretold, /*done=*/false);
    EXPECT_EQ(Difference(before, Seen()), "") << "validate_only changed something";
    const absl::Status status = row.call(world_);
    Compare(row, status, /*done=*/true);
    if (row.refusal.has_value()) {
      EXPECT_EQ(Difference(before, Seen()), "") << "the refused call changed something";
      return;
    }
    for (size_t i = 0; i < row.checks.size(); ++i) {
      const absl::Status check = row.checks[i](world_);
      if (!Playable()) return;
      EXPECT_TRUE(check.ok()) << "check " << i << ": " << Explain(check);
    }
  }

  World world_;

 private:
  void Compare(const Case& row, const absl::Status& status, bool done) {
    const char* const how = done ? "" : "with validate_only: ";
    if (!row.refusal.has_value() || (row.refusal->shows_only_when_done && !done)) {
      EXPECT_TRUE(status.ok()) << how << Explain(status);
      return;
    }
    Refusal refusal = *row.refusal;
    refusal.blamed = world_.Played(refusal.blamed);
    EXPECT_EQ(CompareRefusal(refusal, status), "") << how << Explain(status);
  }
};

TEST_P(ConformanceTest, IsAnsweredAsTheReferenceSays) {
  const Case& row = GetParam();
  const auto before = TakeInventory(world_);
  ASSERT_TRUE(before.ok()) << before.status();
  RunRow(row);
  world_.UndoAll();
  const auto after = TakeInventory(world_);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(Difference(*before, *after), "") << "the case leaves something behind";
  if (Playable()) {
    suite->CountRun(row);
    return;
  }
  suite->CountSkipped();
  GTEST_SKIP() << "no device plays \"" << *world_.missing().begin() << "\"";
}

// "s3_5_9b_AnIovaThatIsMisaligned".
std::string NameOf(const testing::TestParamInfo<Case>& info) {
  std::string name = "s";
  for (const char c : info.param.section) name.push_back(std::isalnum(c) != 0 ? c : '_');
  name.push_back('_');
  bool starts_word = true;
  for (const char c : info.param.name) {
    if (std::isalnum(c) != 0) {
      name.push_back(starts_word ? static_cast<char>(std::toupper(c)) : c);
    }
    starts_word = std::isalnum(c) == 0;
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Reference, ConformanceTest, testing::ValuesIn(RowsToRun()), NameOf);

TEST(ConformanceCoverageTest, EverySectionThatAppliesHasACase) {
  std::map<std::string, int> cases;
  for (const Case& row : RowsToRun()) ++cases[SectionOf(row)];
  for (const char* const section : kSections) {
    EXPECT_GE(cases[section], 1) << "no case for section " << section;
  }
  EXPECT_EQ(cases.size(), std::size(kSections)) << "a case is of a section that is not listed";
}

}  // namespace

void PrintTo(const Case& row, std::ostream* out) { *out << row.section << ": " << row.name; }

}  // namespace viommu::conformance

namespace {

using viommu::conformance::Suite;

std::map<std::string, std::string> ParseDevices(absl::string_view text) {
  std::map<std::string, std::string> devices;
  for (const absl::string_view pair : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    const std::pair<std::string, std::string> played =
        absl::StrSplit(pair, absl::MaxSplits('=', 1));
    devices.insert(played);
  }
  return devices;
}

}  // namespace

int main(int argc, char** argv) {
  std::string address;
  std::map<std::string, std::string> devices;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (absl::StartsWith(argument, "--gtest_")) continue;
    if (absl::ConsumePrefix(&argument, "--address=")) {
      address = std::string(argument);
    } else if (absl::ConsumePrefix(&argument, "--devices=")) {
      devices = ParseDevices(argument);
    } else if (argument == "--architecture=smmu-v3") {
      viommu::conformance::architecture = viommu::conformance::Architecture::kSmmuV3;
    } else if (argument != "--architecture=vtd") {
      std::cerr << "usage: " << argv[0]
                << " [--architecture=vtd|smmu-v3] [--address=TARGET [--devices=PART=ID,...]]\n";
      return 2;
    }
  }
  testing::InitGoogleTest(&argc, argv);
  viommu::conformance::suite = new Suite(address, devices);
  testing::AddGlobalTestEnvironment(viommu::conformance::suite);
  return RUN_ALL_TESTS();
}
