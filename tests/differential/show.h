// tests/differential/show.h -- How each object is shown, by the engine and by the reference.
//
// For every kind there is a pair of functions that put the same fields on a sheet. Etags and
// revisions are not among them: they are compared as versions (world.h).
#ifndef VIOMMU_TESTS_DIFFERENTIAL_SHOW_H_
#define VIOMMU_TESTS_DIFFERENTIAL_SHOW_H_

#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/types.h"
#include "tests/differential/sheet.h"
#include "tests/differential/state.h"

namespace viommu::differential {

void Show(Sheet& sheet, const MemoryRegionView& view);
void ShowRegion(Sheet& sheet, const State& state, const Name& name);

// `viewer`: whose view of names it is.
void Show(Sheet& sheet, const IoasView& view);
void ShowSpace(Sheet& sheet, const State& state, const Name& name, const std::string& viewer);

void Show(Sheet& sheet, const std::vector<MappingView>& mappings);
void ShowMappings(Sheet& sheet, const State& state, const Name& name, const std::string& viewer);

void Show(Sheet& sheet, const std::vector<IovaRange>& ranges);

void Show(Sheet& sheet, const DomainView& view);
void ShowDomain(Sheet& sheet, const State& state, const Name& name, const std::string& viewer);
void ShowStaticDomain(Sheet& sheet, const State& state, Target::Kind kind,
                      const CallContext& viewer);

void Show(Sheet& sheet, const DeviceView& view);
void ShowDevice(Sheet& sheet, const State& state, size_t device, const CallContext& viewer);

void Show(Sheet& sheet, const AttachmentView& view);
void ShowAttachment(Sheet& sheet, const State& state, size_t device, Spot at,
                    const std::string& viewer);

void Show(Sheet& sheet, const PasidView& view);
void ShowPasid(Sheet& sheet, const State& state, size_t device, uint32_t pasid,
               const std::string& viewer);

// ---- show_guests.cc ----

void Show(Sheet& sheet, const FaultQueueView& view);
void ShowQueue(Sheet& sheet, const State& state, const Name& name, const std::string& viewer);

// Groups that wait.
void Show(Sheet& sheet, const Hardware& hardware, const std::vector<FaultView>& faults);
void ShowFaults(Sheet& sheet, const State& state, const Name& name, const std::string& viewer);

// What a device was told of what it asked for.
void Show(Sheet& sheet, const Hardware& hardware, const std::vector<PageGroupResponse>& told);
void ShowTold(Sheet& sheet, const State& state, size_t device);

void Show(Sheet& sheet, const ViommuView& view);
void ShowViommu(Sheet& sheet, const State& state, const Name& name, const std::string& viewer);

void Show(Sheet& sheet, const VdeviceView& view);
void ShowVdevice(Sheet& sheet, const State& state, const Name& name, const std::string& viewer);

void Show(Sheet& sheet, const EventQueueView& view);
void ShowEventQueue(Sheet& sheet, const State& state, const Name& name, const std::string& viewer);

void Show(Sheet& sheet, const std::vector<EventView>& events);
void ShowEvents(Sheet& sheet, const State& state, const Name& name);

// ---- Numbers ----

void Show(Sheet& sheet, const std::vector<UsageView>& usage);
void ShowUsage(Sheet& sheet, const State& state, const CallContext& viewer);

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_SHOW_H_
