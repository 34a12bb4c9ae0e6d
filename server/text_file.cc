#include "server/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/errors.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/tokenizer.h"

namespace viommu {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::TextFormat;

// The parser counts lines and columns from 0, editors from 1.
std::string At(absl::string_view name, int line, int column) {
  return absl::StrCat(name, ":", line + 1, ":", column + 1);
}

// The words in double quotes of a parser's message.
std::vector<absl::string_view> QuotedWords(absl::string_view message) {
  const std::vector<absl::string_view> pieces = absl::StrSplit(message, '"');
  std::vector<absl::string_view> words;
  for (size_t i = 1; i < pieces.size(); i += 2) {
    if (!pieces[i].empty()) words.push_back(pieces[i]);
  }
  return words;
}

// Gathers what the parser says, at the place that an editor should go to.
class Collector : public google::protobuf::io::ErrorCollector {
 public:
  Collector(absl::string_view name, absl::string_view text, Problems* problems)
      : name_(name), text_(text), problems_(problems) {}

  void AddError(int line, int column, const std::string& message) override {
    if (!absl::StartsWith(message, "Expected ")) MoveToCulprit(message, &line, &column);
    problems_->push_back(absl::StrCat(At(name_, line, column), ": ", message));
  }
  // An unknown field is a warning to the parser, which then reads on and finds the others.
  void AddWarning(int line, int column, const std::string& message) override {
    AddError(line, column, message);
  }

 private:
  // Except for an expected token, the parser has already read what it complains about, and names
  // the place behind it, maybe lines below. The culprit is the nearest word before that place of
  // those it quotes.
  void MoveToCulprit(absl::string_view message, int* line, int* column) const {
    const absl::string_view before = text_.substr(0, Offset(*line, *column));
    size_t culprit = absl::string_view::npos;
    for (absl::string_view word : QuotedWords(message)) {
      const size_t found = before.rfind(word);
      if (found == absl::string_view::npos) continue;
      if (culprit == absl::string_view::npos || found > culprit) culprit = found;
    }
    if (culprit == absl::string_view::npos) return;
    const absl::string_view head = text_.substr(0, culprit);
    const size_t newline = head.rfind('\n');
    *line = static_cast<int>(std::count(head.begin(), head.end(), '\n'));
    *column =
        static_cast<int>(newline == absl::string_view::npos ? culprit : culprit - newline - 1);
  }

  size_t Offset(int line, int column) const {
    size_t start = 0;
    for (; line > 0; --line) start = text_.find('\n', start) + 1;
    return std::min(start + column, text_.size());
  }

  const absl::string_view name_;
  const absl::string_view text_;
  Problems* const problems_;
};

// "devices[3]" is ("devices", 3); "iommu" is ("iommu", -1).
std::pair<std::string, int> SplitIndex(absl::string_view segment) {
  const size_t bracket = segment.find('[');
  int index = -1;
  if (bracket == absl::string_view::npos) return {std::string(segment), index};
  absl::string_view digits = segment.substr(bracket + 1);
  if (!digits.empty()) digits.remove_suffix(1);
  if (!absl::SimpleAtoi(digits, &index)) index = -1;
  return {std::string(segment.substr(0, bracket)), index};
}

}  // namespace

absl::StatusOr<std::string> ReadTextFile(const std::string& path) {
  const auto refused = [&path](absl::StatusCode code, absl::string_view why) {
    return Error(code, "UNREADABLE_FILE", absl::StrCat(path, ": ", why)).ToStatus();
  };
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) {
    return refused(
        errno == EACCES ? absl::StatusCode::kPermissionDenied : absl::StatusCode::kNotFound,
        std::strerror(errno));
  }
  if (S_ISDIR(info.st_mode)) return refused(absl::StatusCode::kInvalidArgument, "is a directory");
  std::ifstream in(path, std::ios::binary);
  if (!in) return refused(absl::StatusCode::kPermissionDenied, std::strerror(errno));
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

bool TextFile::Parse(absl::string_view text, google::protobuf::Message* message,
                     Problems* problems) {
  descriptor_ = message->GetDescriptor();
  const size_t before = problems->size();
  Collector collector(name_, text, problems);
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&collector);
  parser.WriteLocationsTo(&locations_);
  parser.AllowUnknownField(true);
  const bool parsed = parser.ParseFromString(std::string(text), message);
  return parsed && problems->size() == before;
}

TextFile::Found TextFile::Find(absl::string_view path) const {
  Found found;
  const TextFormat::ParseInfoTree* tree = &locations_;
  const Descriptor* descriptor = descriptor_;
  for (absl::string_view segment : absl::StrSplit(path, '.')) {
    const auto [name, index] = SplitIndex(segment);
    const FieldDescriptor* field =
        descriptor == nullptr ? nullptr : descriptor->FindFieldByName(name);
    if (tree == nullptr || field == nullptr || field->is_repeated() != (index >= 0)) return found;
    const TextFormat::ParseLocation location = tree->GetLocation(field, index);
    if (location.line < 0) return found;
    found.location = location;
    descriptor = field->message_type();
    tree = descriptor == nullptr ? nullptr : tree->GetTreeForNested(field, index);
  }
  found.complete = true;
  return found;
}

std::string TextFile::Where(absl::string_view path) const {
  const Found found = Find(path);
  if (found.location.line < 0) return name_;
  return At(name_, found.location.line, found.location.column);
}

bool TextFile::Has(absl::string_view path) const { return Find(path).complete; }

}  // namespace viommu
