#include "engine/base/thread.h"

#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {

absl::StatusOr<std::thread> StartThread(std::function<void()> body) {
  try {
    return std::thread(std::move(body));
  } catch (const std::system_error& error) {
    return Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_THREADS",
                 absl::StrCat("the system gives no further thread: ", error.what(),
                              "; nothing changed"))
        .Errno("EAGAIN")
        .ToStatus();
  }
}

}  // namespace viommu
