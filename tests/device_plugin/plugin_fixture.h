// tests/device_plugin/plugin_fixture.h -- A real viommud with a simulated host, the kubelet's
// double, and plugins between them, all on real sockets.
//
// NUMA node 0, dmar0: 0000:01:00.0, and the pair 0000:02:00.0 and .1, which are one group. Node 1,
// dmar1, with PASIDs: 0000:81:00.0 and 0000:82:00.0. Near to no known node, dmar0: 0000:03:00.0.
// And 0000:00:02.0, which nobody can claim. 0001:01:00.0 is behind an SMMUv3; no resource selects
// it.
#ifndef VIOMMU_TESTS_DEVICE_PLUGIN_PLUGIN_FIXTURE_H_
#define VIOMMU_TESTS_DEVICE_PLUGIN_PLUGIN_FIXTURE_H_

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "clients/client/client.h"
#include "clients/device_plugin/device_plugin.h"
#include "clients/device_plugin/plugin_config.h"
#include "gtest/gtest.h"
#include "prometheus/registry.h"
#include "server/log.h"
#include "tests/device_plugin/child_process.h"
#include "tests/device_plugin/kubelet_double.h"
#include "viommu/v1/device.pb.h"

namespace viommu {

inline constexpr char kNear[] = "viommu.dev/near";    // Those of dmar0.
inline constexpr char kPasid[] = "viommu.dev/pasid";  // Those with PASIDs.
inline constexpr uint64_t kPage = 4096;
inline constexpr uint64_t kIova = 0x100000;
// Also enough under a sanitizer, on a machine that compiles meanwhile.
inline constexpr absl::Duration kPatience = absl::Seconds(60);
// After which the plugins of tests free what no pod has. On such a machine a container that is
// being made takes a good part of a second to appear.
inline constexpr absl::Duration kGrace = absl::Seconds(2);

// A plugin with series and a log of its own.
class RunningPlugin {
 public:
  RunningPlugin(PluginConfig config, const DevicePlugin::Options& options,
                const std::string& log_path);
  ~RunningPlugin();

  DevicePlugin& operator*() { return *plugin_; }
  DevicePlugin* operator->() { return plugin_.get(); }
  // A series of one resource or of none, with one label more or none.
  double Metric(const std::string& name, const std::string& resource = "",
                const std::string& label = "") const;
  // Calls of the kubelet's that have begun, of one method.
  double Begun(const std::string& method) const;

 private:
  const PluginConfig config_;
  const int log_fd_;
  Log log_;
  prometheus::Registry registry_;
  std::unique_ptr<DevicePlugin> plugin_;
};

class PluginTest : public ::testing::Test {
 protected:
  // `flags`: of viommud, beyond those that the plugin needs.
  explicit PluginTest(std::vector<std::string> flags = {"--metrics_address="});
  ~PluginTest() override;

  void StartViommud();
  void StopViommud();
  PluginConfig Config() const;
  DevicePlugin::Options Options() const;
  std::unique_ptr<RunningPlugin> NewPlugin() const { return NewPlugin(Config(), Options()); }
  std::unique_ptr<RunningPlugin> NewPlugin(PluginConfig config,
                                           const DevicePlugin::Options& options) const;
  // Starts a plugin in the place of one that there may have been, and waits until the kubelet has
  // all of its healthy devices.
  void StartPlugin() { StartPlugin(Config(), Options()); }
  void StartPlugin(PluginConfig config, const DevicePlugin::Options& options);
  // Ends the plugin, and starts one that has registered all its resources when this returns.
  void ReplacePlugin(PluginConfig config, const DevicePlugin::Options& options);
  void AwaitHealthy();

  // Whether it holds, now or soon.
  static bool Soon(const std::function<bool()>& holds);

  Client& viommud();
  v1::Device GetDevice(const std::string& id);
  void SetHealth(const std::string& id, v1::DeviceHealth health);
  // Principals of allocations that have a page, a listener or a claim.
  std::set<std::string> Allocations();
  // All objects of all owners, listeners and directories of listeners, counted.
  size_t Leftovers();
  // A client at the socket that the container finds; it has no path of the container, but the
  // host's.
  static absl::StatusOr<std::unique_ptr<Client>> Inside(const KubeletDouble::Container& container,
                                                        absl::Duration patience = kPatience);

  // What a guest would do in its container: a page of memory, mapped at kIova for the IO address
  // space that the container found, and `text` in it.
  static void FillMemory(Client& container, const std::string& text);
  // What the device reads at kIova; none: a fault.
  static std::optional<std::string> ReadByDevice(Client& client, const std::string& id,
                                                 size_t size);

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  std::string Log() const;

  const std::string folder_;
  const std::vector<std::string> flags_;
  std::unique_ptr<ChildProcess> viommud_;
  std::unique_ptr<Client> client_;
  KubeletDouble kubelet_;
  std::unique_ptr<RunningPlugin> plugin_;
};

}  // namespace viommu

#endif  // VIOMMU_TESTS_DEVICE_PLUGIN_PLUGIN_FIXTURE_H_
