#include "tests/conformance/world.h"

namespace viommu::conformance {

std::string World::Domain(const std::string& id) {
  const bool is_static = id == "identity" || id == "blocked";
  return "domains/" + (is_static ? id : Id(id));
}

std::string World::Device(const std::string& part) {
  const std::string id = Played(part);
  if (target_->present.count(id) == 0) missing_.insert(part);
  return "devices/" + id;
}

std::string World::Played(const std::string& word) const {
  const auto played = target_->devices.find(word);
  return played == target_->devices.end() ? word : played->second;
}

void World::Prepare(google::protobuf::Message* request) const {
  const auto* field = request->GetDescriptor()->FindFieldByName("validate_only");
  if (field == nullptr || !validate_only_) return;
  request->GetReflection()->SetBool(request, field, true);
}

void World::OnUndo(std::function<absl::Status()> undo) {
  if (!validate_only_) undo_.push_back(std::move(undo));
}

void World::UndoAll() {
  validate_only_ = false;
  size_t before = 0;
  do {
    before = undo_.size();
    std::vector<std::function<absl::Status()>> waiting;
    for (; !undo_.empty(); undo_.pop_back()) {
      // Anything else means that the case did it already.
      if (undo_.back()().code() != absl::StatusCode::kFailedPrecondition) continue;
      waiting.insert(waiting.begin(), undo_.back());
    }
    undo_ = std::move(waiting);
  } while (undo_.size() < before);
}

}  // namespace viommu::conformance
