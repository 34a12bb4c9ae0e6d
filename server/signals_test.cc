#include "server/signals.h"

#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "gtest/gtest.h"

namespace viommu {
namespace {

// Each body runs in a process of its own: signals belong to a process, not to a test.
template <typename Body>
int ExitCodeOf(Body body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(SignalsTest, WaitsForEitherSignal) {
  for (const int number : {SIGTERM, SIGINT}) {
    EXPECT_EQ(ExitCodeOf([number] {
                const TerminationSignals signals;
                kill(getpid(), number);
                return signals.Wait() == number ? 7 : 1;
              }),
              7);
  }
}

TEST(SignalsTest, BlocksThemInThreadsMadeLater) {
  EXPECT_EQ(ExitCodeOf([] {
              const TerminationSignals signals;
              std::thread thread([] { raise(SIGTERM); });
              thread.join();
              return 7;
            }),
            7);
}

TEST(SignalsTest, ExitsAtOnceOnTheSecond) {
  EXPECT_EQ(ExitCodeOf([] {
              const TerminationSignals signals;
              kill(getpid(), SIGTERM);
              signals.Wait();
              signals.ExitOnNext(3);
              kill(getpid(), SIGINT);
              while (true) pause();
              return 0;
            }),
            3);
}

TEST(SignalsTest, SurvivesAClientThatHangsUp) {
  EXPECT_EQ(ExitCodeOf([] {
              const TerminationSignals signals;
              int ends[2];
              if (pipe(ends) != 0) return 1;
              close(ends[0]);
              return write(ends[1], "x", 1) < 0 ? 7 : 1;
            }),
            7);
}

}  // namespace
}  // namespace viommu
