#include "tests/conformance/world.h"

namespace viommu::conformance {

std::string World::Domain(const std::string& id) {
  const bool is_static = id == "identity" || id == "blocked";
  return "domains/" + (is_static ? id : Id(id));
}

std::string World::Device(const std::string& part) {
  const auto played = target_->devices.find(part);
  const std::string& id = played == target_->devices.end() ? part : played->second;
  if (target_->present.count(id) == 0) missing_.insert(part);
  return "devices/" + id;
}

void World::Prepare(google::protobuf::Message* request) const {
  const auto* field = request->GetDescriptor()->FindFieldByName("validate_only");
  if (field == nullptr || !validate_only_) return;
  request->GetReflection()->SetBool(request, field, true);
}

void World::OnUndo(std::function<void()> undo) {
  if (!validate_only_) undo_.push_back(std::move(undo));
}

void World::UndoAll() {
  validate_only_ = false;
  while (!undo_.empty()) {
    const std::function<void()> undo = std::move(undo_.back());
    undo_.pop_back();
    undo();
  }
}

}  // namespace viommu::conformance
