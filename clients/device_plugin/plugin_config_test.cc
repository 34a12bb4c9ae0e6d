#include "clients/device_plugin/plugin_config.h"

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr char kOne[] = "resources { name: 'viommu.dev/any' }\n";

struct Loaded {
  PluginConfig config;
  Problems problems;
};

Loaded Load(const std::string& text, std::vector<std::string> flags = {}) {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/plugin.textproto";
  std::ofstream(path) << text;
  flags.insert(flags.begin(), "--config=" + path);
  Loaded loaded;
  const CommandLine line = ParsePluginCommandLine(flags, &loaded.problems);
  loaded.config = LoadPluginConfig(line, &loaded.problems);
  return loaded;
}

TEST(PluginConfigTest, HasTheDocumentedDefaults) {
  const auto [config, problems] = Load(kOne);
  EXPECT_THAT(problems, IsEmpty());
  EXPECT_EQ(config.viommud_socket, "/run/viommu/viommud.sock");
  EXPECT_EQ(config.device_plugin_dir, "/var/lib/kubelet/device-plugins");
  EXPECT_EQ(config.pod_resources_socket, "/var/lib/kubelet/pod-resources/kubelet.sock");
  EXPECT_EQ(config.listener_dir, "");
  EXPECT_EQ(config.host_listener_dir, "");
  EXPECT_EQ(config.container_dir, "/run/viommu");
  EXPECT_EQ(config.metrics_address, "127.0.0.1:9479");
  EXPECT_EQ(config.health_address, "");
  EXPECT_FALSE(config.device_nodes);
  EXPECT_EQ(config.listener_mode, 0666u);
  EXPECT_FALSE(config.listener_uid.has_value());
  EXPECT_EQ(config.reconcile_period, absl::Seconds(30));
  EXPECT_EQ(config.grace_period, absl::Seconds(120));
  EXPECT_EQ(config.viommud_patience, absl::Seconds(5));
}

TEST(PluginConfigTest, NamesAResourceThreeWays) {
  const auto [config, problems] =
      Load("resources { name: 'example.com/vtd-pasid' domain { pasid: true } }");
  EXPECT_THAT(problems, IsEmpty());
  ASSERT_EQ(config.resources.size(), 1u);
  EXPECT_EQ(config.resources[0].name, "example.com/vtd-pasid");
  EXPECT_EQ(config.resources[0].short_name, "vtd-pasid");
  EXPECT_EQ(config.resources[0].environment, "VIOMMU_VTD_PASID");
  EXPECT_TRUE(config.resources[0].domain.pasid());
}

TEST(PluginConfigTest, LetsFlagsWinOverTheFile) {
  const auto [config, problems] =
      Load(absl::StrCat(kOne, "mode: MODE_SOFT\nlistener_gid: 7\npod_resources_dir: '/x'\n"),
           {"--mode=cdev", "--listener_gid=8", "--pod_resources_dir=", "--listener_mode=0660"});
  EXPECT_THAT(problems, IsEmpty());
  EXPECT_TRUE(config.device_nodes);
  EXPECT_EQ(config.listener_gid, 8u);
  EXPECT_EQ(config.pod_resources_socket, "");
  EXPECT_EQ(config.listener_mode, 0660u);
}

TEST(PluginConfigTest, ReportsEveryProblemAtOnce) {
  const auto loaded = Load(R"(viommud_socket: "relative.sock"
metrics_address: "nowhere"
listener_mode: "0777"
grace_period_seconds: 0
cdi_kind: "novendor"
resources { name: "no-domain" }
resources { name: "a.kubernetes.io/b" }
resources { name: "example.com/x-y" selector { capabilities: CAPABILITY_UNSPECIFIED numa_node: -1 } }
resources { name: "example.org/x_y" }
resources { }
)",
                           {"--mode=hard", "--resources=x", "--no_such=1"});
  EXPECT_THAT(loaded.problems,
              UnorderedElementsAre(
                  "--resources: no such flag; see --help", "--no_such: no such flag; see --help",
                  "--mode: \"hard\" is none of soft, cdev",
                  EndsWith(":1:1: viommud_socket: \"relative.sock\" is no absolute path"),
                  HasSubstr(":2:1: metrics_address: "),
                  EndsWith(":3:1: listener_mode: \"0777\" is none of 0600, 0660, 0606, 0666"),
                  EndsWith(":4:1: grace_period_seconds: 0 is not in 1..86400"),
                  EndsWith(":5:1: cdi_kind: \"novendor\" is not \"vendor.com/class\""),
                  EndsWith(":5:1: cdi_kind: CDI names are given with mode cdev alone"),
                  HasSubstr("resources[0].name: \"no-domain\" is not"),
                  HasSubstr("resources[1].name: \"a.kubernetes.io/b\": kubernetes.io is"),
                  HasSubstr("resources[2].selector.capabilities[0]: unknown capability 0"),
                  HasSubstr("resources[2].selector.numa_node[0]: -1 is no NUMA node"),
                  HasSubstr("resources[3].name: \"example.org/x_y\": an earlier one has the "
                            "variables VIOMMU_X_Y_..., too"),
                  EndsWith(":10:1: resources[4]: has no name")));
}

TEST(PluginConfigTest, RefusesNamesThatTheKubeletWould) {
  const std::string longest(244, 'a');
  EXPECT_THAT(Load(absl::StrCat("resources { name: '", longest, "/b' }")).problems, IsEmpty());
  const std::string names[] = {"a/b/c",
                               "/b",
                               "a/",
                               "A.com/b",
                               "a..b/c",
                               "a-.com/b",
                               "a.-com/b",
                               "a.com/-b",
                               "kubernetes.io/b",
                               "mykubernetes.io/b",
                               "requests.a.com/b",
                               longest + "a/b"};
  for (const std::string& name : names) {
    EXPECT_THAT(Load(absl::StrCat("resources { name: '", name, "' }")).problems,
                ElementsAre(HasSubstr("resources[0].name")))
        << name;
  }
}

TEST(PluginConfigTest, KnowsItsPodByNamespaceAndName) {
  for (const char* pod : {"", "kube-system/viommu-x7k2p", "a/b.c"}) {
    const auto [config, problems] = Load(kOne, {absl::StrCat("--own_pod=", pod)});
    EXPECT_THAT(problems, IsEmpty());
    EXPECT_EQ(config.own_pod, pod);
  }
  for (const char* pod : {"viommu", "/", "a/", "/b", "a/b/c", "a.b/c", "$(POD_NAMESPACE)/b"}) {
    EXPECT_THAT(Load(kOne, {absl::StrCat("--own_pod=", pod)}).problems,
                ElementsAre(absl::StrCat("--own_pod: \"", pod, "\" is not \"namespace/name\"")));
  }
}

TEST(PluginConfigTest, RefusesPathsThatNoSocketCanHave) {
  const struct {
    const char* setting;
    std::string in_it;  // What a socket's path has behind the setting.
  } kPaths[] = {{"viommud_socket", ""},
                {"device_plugin_dir", "/viommu-any-00000000.sock"},
                {"pod_resources_dir", "/kubelet.sock"}};
  for (const auto& path : kPaths) {
    const auto problems = [&path](size_t socket_bytes) {
      const std::string rest(socket_bytes - path.in_it.size() - 1, 'd');
      return Load(absl::StrCat(kOne, path.setting, ": '/", rest, "'")).problems;
    };
    EXPECT_THAT(problems(107), IsEmpty()) << path.setting;
    EXPECT_THAT(problems(108), ElementsAre(HasSubstr("108 bytes; it has at most 107")))
        << path.setting;
  }
}

TEST(PluginConfigTest, NeedsAResource) {
  EXPECT_THAT(Load("").problems, ElementsAre("resources: at least one is needed"));
}

TEST(PluginConfigTest, ExplainsEveryFlag) {
  const std::string help = PluginHelpText();
  const auto* settings = config::v1::DevicePluginConfig::descriptor();
  for (int i = 0; i < settings->field_count(); ++i) {
    if (settings->field(i)->is_repeated()) continue;
    EXPECT_THAT(help, HasSubstr(absl::StrCat("--", settings->field(i)->name(), " ")));
  }
}

}  // namespace
}  // namespace viommu
