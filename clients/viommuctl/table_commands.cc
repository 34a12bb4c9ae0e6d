// The hardware's tables: the way of an address through them, why it ends, all of them as a file.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "clients/client/call_error.h"
#include "clients/client/client.h"
#include "clients/viommuctl/columns.h"
#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/exit_code.h"
#include "clients/viommuctl/table_image.h"
#include "clients/viommuctl/values.h"
#include "viommu/v1/common.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu {
namespace {

std::string PlaceOf(const v1::TranslationFault& fault) {
  switch (fault.stage()) {
    case v1::TABLE_STAGE_1:
      return absl::StrCat(" in stage 1, level ", fault.level());
    case v1::TABLE_STAGE_2:
      return absl::StrCat(" in stage 2, level ", fault.level());
    default:
      return "";
  }
}

std::string WordsOf(const v1::TranslationExplanation& explanation) {
  switch (explanation.outcome_case()) {
    case v1::TranslationExplanation::kTranslated: {
      const v1::TranslatedAddress& to = explanation.translated();
      return absl::StrCat("goes to ", FormatAddress(to.physical_address()), ", in a page of ",
                          FormatSize(to.page_size_bytes()));
    }
    case v1::TranslationExplanation::kInterruptMessage:
      return "is an interrupt message";
    case v1::TranslationExplanation::kFault: {
      const v1::TranslationFault& fault = explanation.fault();
      return absl::StrCat("faults", PlaceOf(fault), ": ", fault.code(), " (", fault.reason(), "), ",
                          fault.description(), "\n  ", fault.why());
    }
    case v1::TranslationExplanation::OUTCOME_NOT_SET:
      break;
  }
  return "is not explained";
}

// With stages apart, and where the guest has its entries, when there are two stages.
Table TableOfPath(const v1::DumpTablesResponse& dump) {
  const bool nested = std::any_of(dump.entries().begin(), dump.entries().end(),
                                  [](const auto& entry) { return entry.has_guest_address(); });
  if (!nested) return TableOf(dump.entries());
  Table table({"TABLE", "STAGE", "FOR", "GUEST", "ADDRESS", "WORDS", "DECODED"});
  for (const v1::TableEntry& entry : dump.entries()) {
    const Table::Cells plain = Cells(entry);
    const bool paged = entry.has_input_address();
    table.Add({plain[0],
               !paged                               ? ""
               : entry.stage() == v1::TABLE_STAGE_1 ? "1"
                                                    : "2",
               paged ? FormatAddress(entry.input_address()) : "",
               entry.has_guest_address() ? FormatAddress(entry.guest_address()) : "", plain[1],
               plain[2], plain[3]});
  }
  return table;
}

// What is in `path` so far becomes the file `path`, or goes.
absl::Status Receive(Client* client, const std::string& path, v1::TableImageSummary* summary) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  if (!file) return absl::UnknownError(absl::StrCat(path, " can not be written"));
  TableImageWriter writer(&file);
  grpc::ClientContext context;
  Client::SetDeadline(&context, client->options().call_timeout);
  const auto reader =
      client->Of<v1::SimulationService>().ExportTables(&context, v1::ExportTablesRequest());
  v1::ExportTablesResponse part;
  absl::Status written;
  while (written.ok() && reader->Read(&part)) written = writer.Write(part);
  if (!written.ok()) context.TryCancel();
  absl::Status received = ToStatus(reader->Finish());
  if (!written.ok()) return written;
  if (!received.ok()) return received;
  *summary = writer.summary();
  return writer.Finish();
}

}  // namespace

absl::Status Tables(Invocation& call) {
  v1::DumpTablesRequest request;
  request.set_name(call.Name("DEVICE"));
  request.set_iova(call.Address("ADDRESS"));
  if (call.Has("pasid")) request.set_pasid(call.Number("pasid"));
  const auto dump = call.Call(&v1::SimulationService::Stub::DumpTables, request);
  if (!dump.ok()) return dump.status();
  call.ShowListing(*dump, /*is_cut=*/false, TableOfPath(*dump));
  if (call.ForPrograms()) return absl::OkStatus();
  call.Print(absl::StrCat("a read ", WordsOf(dump->read()), "\n"));
  call.Print(absl::StrCat("a write ", WordsOf(dump->write()), "\n"));
  return absl::OkStatus();
}

absl::Status ExplainAccess(Invocation& call) {
  const bool write = call.Text("access") == "write";
  v1::ExplainTranslationRequest request;
  request.set_name(call.Name("DEVICE"));
  request.set_iova(call.Address("ADDRESS"));
  request.set_access(write ? v1::PERMISSION_WRITE : v1::PERMISSION_READ);
  if (call.Has("pasid")) request.set_pasid(call.Number("pasid"));
  const auto explanation = call.Call(&v1::SimulationService::Stub::ExplainTranslation, request);
  if (!explanation.ok()) return explanation.status();
  if (explanation->has_fault()) call.EndWith(kExitFault);
  if (call.ForPrograms()) {
    call.Show(*explanation, Table());
  } else {
    call.Print(absl::StrCat(write ? "a write to " : "a read of ", FormatAddress(request.iova()),
                            " ", WordsOf(*explanation), "\n"));
  }
  return absl::OkStatus();
}

absl::Status ExportTables(Invocation& call) {
  const absl::StatusOr<Client*> client = call.Connected();
  if (!client.ok()) return client.status();
  const std::string path = call.Text("FILE");
  const std::string partial = path + ".partial";
  v1::TableImageSummary summary;
  absl::Status received = Receive(*client, partial, &summary);
  if (received.ok() && std::rename(partial.c_str(), path.c_str()) != 0) {
    received = absl::UnknownError(absl::StrCat(path, " can not be written"));
  }
  if (!received.ok()) {
    std::remove(partial.c_str());
    return received;
  }
  if (!call.Quiet()) {
    call.Print(absl::StrCat(path, " written (", summary.page_count(), " pages, ",
                            summary.register_count(), " registers)\n"));
  }
  if (summary.guest_tables_left_out()) {
    call.err() << "viommuctl: guests have more tables than an image holds; some are left out\n";
  }
  return absl::OkStatus();
}

}  // namespace viommu
