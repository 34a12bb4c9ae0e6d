// tests/device_plugin/child_process.h -- A program that runs beside a test.
#ifndef VIOMMU_TESTS_DEVICE_PLUGIN_CHILD_PROCESS_H_
#define VIOMMU_TESTS_DEVICE_PLUGIN_CHILD_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace viommu {

// Runs from construction; is killed with the object, if it still runs. Thread-compatible.
class ChildProcess {
 public:
  // `program` is a path below the test's runfiles; its standard error goes to `log_path`, at its
  // end.
  ChildProcess(const std::string& program, const std::vector<std::string>& arguments,
               const std::string& log_path);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  bool IsRunning();
  void Signal(int number) const;
  // Waits for its end, which a signal should bring; answers the exit code, or -1: it was killed.
  int Wait();

 private:
  pid_t pid_ = -1;  // -1: it has ended, and has been waited for.
};

}  // namespace viommu

#endif  // VIOMMU_TESTS_DEVICE_PLUGIN_CHILD_PROCESS_H_
