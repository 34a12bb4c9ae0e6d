#include "clients/device_plugin/plugin_metrics.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "prometheus/family.h"
#include "prometheus/labels.h"

namespace viommu {
namespace {

using ::prometheus::Counter;
using ::prometheus::Family;
using ::prometheus::Gauge;
using ::prometheus::Labels;
using ::prometheus::Registry;

// All of RosterEntry.reason.
constexpr const char* kReasons[] = {"VIOMMUD_AWAY", "STATE_LOST",        "DEVICE_UNHEALTHY",
                                    "NOT_CLAIMED",  "CLAIMED_ELSEWHERE", "OTHER_RESOURCE"};

std::string FullName(absl::string_view name) { return absl::StrCat("viommu_device_plugin_", name); }

Family<Gauge>& Gauges(Registry* registry, absl::string_view name, const std::string& help) {
  return prometheus::BuildGauge().Name(FullName(name)).Help(help).Register(*registry);
}

Family<Counter>& Counters(Registry* registry, absl::string_view name, const std::string& help) {
  return prometheus::BuildCounter().Name(FullName(name)).Help(help).Register(*registry);
}

Outcomes AddOutcomes(Family<Counter>* family, Labels labels) {
  Outcomes outcomes;
  labels["result"] = "ok";
  outcomes.succeeded = &family->Add(labels);
  labels["result"] = "error";
  outcomes.failed = &family->Add(labels);
  return outcomes;
}

}  // namespace

void ResourceMetrics::Show(const std::vector<RosterEntry>& roster) const {
  std::map<std::string, int> ailing;
  int sick = 0;
  int held = 0;
  for (const RosterEntry& entry : roster) {
    if (!entry.reason.empty()) {
      ++sick;
      ++ailing[entry.reason];
    }
    if (entry.allocated) ++held;
  }
  healthy->Set(static_cast<double>(roster.size()) - sick);
  unhealthy->Set(sick);
  allocated->Set(held);
  for (const auto& [reason, gauge] : by_reason) gauge->Set(ailing[reason]);
}

PluginMetrics::PluginMetrics(const std::vector<OfferedResource>& resources, Registry* registry) {
  auto& devices = Gauges(registry, "devices", "Devices that are offered.");
  auto& sick = Gauges(registry, "unhealthy_devices", "Devices that are unhealthy, and why.");
  auto& held = Gauges(registry, "allocated_devices", "Devices that an allocation holds.");
  auto& streams = Gauges(registry, "kubelet_streams",
                         "Lists of devices that the kubelet follows; 0: the node offers none.");
  auto& allocations =
      Counters(registry, "allocations_total", "Allocations that the kubelet asked for.");
  auto& renewals =
      Counters(registry, "renewals_total", "Allocations made as new before a container's start.");
  auto& registrations =
      Counters(registry, "registrations_total", "Registrations with the kubelet.");
  for (const OfferedResource& resource : resources) {
    const Labels labels = {{"resource", resource.name}};
    const auto with = [&labels](const std::string& key, const std::string& value) {
      Labels more = labels;
      more[key] = value;
      return more;
    };
    ResourceMetrics& metrics = resources_[resource.name];
    metrics.healthy = &devices.Add(with("health", "healthy"));
    metrics.unhealthy = &devices.Add(with("health", "unhealthy"));
    for (const char* reason : kReasons) {
      metrics.by_reason[reason] = &sick.Add(with("reason", reason));
    }
    metrics.allocated = &held.Add(labels);
    metrics.allocations = AddOutcomes(&allocations, labels);
    metrics.renewals = AddOutcomes(&renewals, labels);
    metrics.registrations = AddOutcomes(&registrations, labels);
    metrics.kubelet_streams = &streams.Add(labels);
  }
  viommud_up = &Gauges(registry, "viommud_up", "Whether viommud answers.").Add({});
  pod_resources_up = &Gauges(registry, "pod_resources_up",
                             "Whether the kubelet says which pods there are; 0: nothing is freed.")
                          .Add({});
  leaked =
      &Gauges(registry, "leaked_allocations",
              "Allocations that no pod has had for the grace period, and that could not be freed.")
           .Add({});
  freed =
      AddOutcomes(&Counters(registry, "freed_allocations_total",
                            "Allocations that no pod had any more, by how their freeing ended."),
                  {});
}

}  // namespace viommu
