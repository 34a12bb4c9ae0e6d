// clients/viommuctl/table.h -- Aligned columns of text.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_TABLE_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_TABLE_H_

#include <string>
#include <utility>
#include <vector>

namespace viommu {

// Thread-compatible.
class Table {
 public:
  using Cells = std::vector<std::string>;

  // Without headings it is a list that explains itself.
  explicit Table(Cells headings = {}) : headings_(std::move(headings)) {}

  // As many cells in every row, and as many as there are headings. An empty one is shown as "-", so
  // that columns can be counted by programs that split at blanks.
  void Add(Cells cells) { rows_.push_back(std::move(cells)); }

  bool empty() const { return rows_.empty(); }

  // A line for each row, with `indent` blanks before it; the headings first when `with_headings`.
  std::string Format(bool with_headings, int indent = 0) const;

 private:
  Cells headings_;
  std::vector<Cells> rows_;
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_TABLE_H_
