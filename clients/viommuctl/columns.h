// clients/viommuctl/columns.h -- What people see of each kind of message.
//
// Headings and Cells belong together: one cell for each heading. TableOf makes a table of any list
// of them; FieldsOf shows one object as a list of its fields.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_COLUMNS_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_COLUMNS_H_

#include <string>
#include <vector>

#include "clients/viommuctl/table.h"
#include "viommu/v1/device.pb.h"
#include "viommu/v1/domain.pb.h"
#include "viommu/v1/event_queue.pb.h"
#include "viommu/v1/hardware_queue.pb.h"
#include "viommu/v1/host.pb.h"
#include "viommu/v1/ioas.pb.h"
#include "viommu/v1/listener.pb.h"
#include "viommu/v1/memory.pb.h"
#include "viommu/v1/simulation.pb.h"
#include "viommu/v1/viommu.pb.h"

namespace viommu {

Table::Cells Headings(const v1::MemoryRegion&);
Table::Cells Cells(const v1::MemoryRegion& region);
Table::Cells Headings(const v1::Ioas&);
Table::Cells Cells(const v1::Ioas& ioas);
Table::Cells Headings(const v1::Domain&);
Table::Cells Cells(const v1::Domain& domain);
Table::Cells Headings(const v1::FaultQueue&);
Table::Cells Cells(const v1::FaultQueue& queue);
Table::Cells Headings(const v1::Fault&);
Table::Cells Cells(const v1::Fault& fault);
Table::Cells Headings(const v1::PageResponse&);
Table::Cells Cells(const v1::PageResponse& response);
Table::Cells Headings(const v1::Device&);
Table::Cells Cells(const v1::Device& device);
Table::Cells Headings(const v1::Iommu&);
Table::Cells Cells(const v1::Iommu& iommu);
Table::Cells Headings(const v1::InvalidationQueue&);
Table::Cells Cells(const v1::InvalidationQueue& queue);
Table::Cells Headings(const v1::Attachment&);
Table::Cells Cells(const v1::Attachment& attachment);
Table::Cells Headings(const v1::Pasid&);
Table::Cells Cells(const v1::Pasid& pasid);
Table::Cells Headings(const v1::Mapping&);
Table::Cells Cells(const v1::Mapping& mapping);
Table::Cells Headings(const v1::IovaRange&);
Table::Cells Cells(const v1::IovaRange& range);
Table::Cells Headings(const v1::ReservedRegion&);
Table::Cells Cells(const v1::ReservedRegion& region);
Table::Cells Headings(const v1::Viommu&);
Table::Cells Cells(const v1::Viommu& viommu);
Table::Cells Headings(const v1::Vdevice&);
Table::Cells Cells(const v1::Vdevice& vdevice);
Table::Cells Headings(const v1::EventQueue&);
Table::Cells Cells(const v1::EventQueue& queue);
Table::Cells Headings(const v1::Event&);
Table::Cells Cells(const v1::Event& event);
Table::Cells Headings(const v1::HardwareQueue&);
Table::Cells Cells(const v1::HardwareQueue& queue);
Table::Cells Headings(const v1::Listener&);
Table::Cells Cells(const v1::Listener& listener);
Table::Cells Headings(const v1::TableEntry&);
Table::Cells Cells(const v1::TableEntry& entry);

// "0x1000 w, 0x2000 rx": the pages that it asks for, and what for.
std::string PagesOf(const v1::Fault& fault);

template <typename Items>
Table TableOf(const Items& items) {
  Table table(Headings(typename Items::value_type()));
  for (const auto& item : items) table.Add(Cells(item));
  return table;
}

// Two columns, the name of a field and its value; what is empty or not there is left out.
Table FieldsOf(const v1::MemoryRegion& region);
Table FieldsOf(const v1::Ioas& ioas);
Table FieldsOf(const v1::Domain& domain);
Table FieldsOf(const v1::Device& device);
Table FieldsOf(const v1::Iommu& iommu);
Table FieldsOf(const v1::InvalidationQueue& queue);
Table FieldsOf(const v1::Host& host);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_COLUMNS_H_
