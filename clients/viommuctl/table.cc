#include "clients/viommuctl/table.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"

namespace viommu {
namespace {

constexpr size_t kGap = 2;

// On one line, and without what a terminal would obey: some texts are of other people's choosing.
std::string Shown(const std::string& cell) {
  if (cell.empty()) return "-";
  std::string shown = cell;
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = ' ';
  }
  return shown;
}

// The last column is not padded: nothing stands behind it.
std::string Line(const Table::Cells& cells, const std::vector<size_t>& widths, int indent) {
  std::string line(static_cast<size_t>(indent), ' ');
  for (size_t i = 0; i < cells.size(); ++i) {
    const std::string cell = Shown(cells[i]);
    line += cell;
    if (i + 1 < cells.size()) line.append(widths[i] - cell.size() + kGap, ' ');
  }
  return line + "\n";
}

}  // namespace

std::string Table::Format(bool with_headings, int indent) const {
  std::vector<Cells> lines = rows_;
  if (with_headings && !headings_.empty()) lines.insert(lines.begin(), headings_);
  std::vector<size_t> widths;
  for (const Cells& line : lines) {
    widths.resize(std::max(widths.size(), line.size()), 0);
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], Shown(line[i]).size());
  }
  std::string out;
  for (const Cells& line : lines) absl::StrAppend(&out, Line(line, widths, indent));
  return out;
}

}  // namespace viommu
