// server/log.h -- Events for operators: one JSON object a line.
//
//   {"time":"2024-05-01T12:00:00.000000Z","level":"info","event":"ready","tcp":"127.0.0.1:7700"}
//
// An event is a fixed lower_snake_case name; what varies goes into fields. No secrets.
#ifndef VIOMMU_SERVER_LOG_H_
#define VIOMMU_SERVER_LOG_H_

#include <initializer_list>
#include <string>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "engine/base/env.h"
#include "server/json.h"

namespace viommu {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// A key and its value, already in JSON. Integers above 2^53 are read inexactly by some collectors,
// which is no concern for what is logged here.
class LogField {
 public:
  LogField(absl::string_view key, absl::string_view text) : LogField(key, JsonString(text), 0) {}
  LogField(absl::string_view key, const char* text) : LogField(key, absl::string_view(text)) {}
  LogField(absl::string_view key, const std::string& text)
      : LogField(key, absl::string_view(text)) {}
  // Any number, or bool.
  template <typename T, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
  LogField(absl::string_view key, T value) : LogField(key, Render(value), 0) {}

  const std::string& key() const { return key_; }
  const std::string& json() const { return json_; }

 private:
  LogField(absl::string_view key, std::string json, int) : key_(key), json_(std::move(json)) {}

  static std::string Render(bool value) { return value ? "true" : "false"; }
  template <typename T>
  static std::string Render(T value) {
    return absl::StrCat(value);
  }

  std::string key_;
  std::string json_;
};

// Thread-safe; lines are never mixed.
class Log {
 public:
  // Events below `least` are dropped. Writes to the file descriptor `fd`, which must stay open, as
  // `env` must stay alive.
  Log(LogLevel least, int fd, Env* env) : least_(least), fd_(fd), env_(env) {}

  bool Enabled(LogLevel level) const { return level >= least_; }
  void Write(LogLevel level, absl::string_view event, std::initializer_list<LogField> fields = {});

 private:
  const LogLevel least_;
  const int fd_;
  Env* const env_;
  absl::Mutex mutex_;  // Keeps the pieces of a line together when write() takes several goes.
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_LOG_H_
