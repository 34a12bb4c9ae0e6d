#include "server/log.h"

#include <unistd.h>

#include <cerrno>

#include "absl/time/time.h"

namespace viommu {
namespace {

absl::string_view Name(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

std::string Line(absl::Time time, LogLevel level, absl::string_view event,
                 std::initializer_list<LogField> fields) {
  const std::string stamp = absl::FormatTime("%Y-%m-%d%ET%H:%M:%E6SZ", time, absl::UTCTimeZone());
  std::string line = absl::StrCat("{\"time\":\"", stamp, "\",\"level\":\"", Name(level),
                                  "\",\"event\":", JsonString(event));
  for (const LogField& field : fields) {
    absl::StrAppend(&line, ",", JsonString(field.key()), ":", field.json());
  }
  line.append("}\n");
  return line;
}

}  // namespace

void Log::Write(LogLevel level, absl::string_view event, std::initializer_list<LogField> fields) {
  if (!Enabled(level)) return;
  const std::string line = Line(env_->Now(), level, event, fields);
  const absl::MutexLock lock(&mutex_);
  absl::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t written = write(fd_, rest.data(), rest.size());
    // A log that nobody can take any more must not stop the daemon.
    if (written < 0 && errno != EINTR) return;
    if (written > 0) rest.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace viommu
