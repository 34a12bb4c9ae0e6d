// tests/conformance/fault_cases.cc -- Page faults: queues, where faults go, what answers them.
#include <utility>

#include "tests/conformance/cases.h"
#include "tests/conformance/fault_verbs.h"
#include "tests/conformance/nested_verbs.h"
#include "tests/conformance/pasid_verbs.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/fault.pb.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;

// Queue "q" takes the faults of "d", for PASIDs, over "a"; "n" has none. "asking" is claimed.
Steps Domains() {
  Flags with_queue = ForPasids();
  with_queue.fault_queue = Queue("q");
  return {NewQueue("q"),
          NewRegion("r"),
          NewIoas("a"),
          Claim("asking"),
          NewPaging("d", "a", "asking", with_queue),
          NewPaging("n", "a", "asking", ForPasids())};
}

Case Asking(Case row) { return Needing(Feature::kPageFaults, std::move(row)); }

std::vector<Case> Queues() {
  return {
      Refused("11/1", "a queue deeper than it may be", {}, NewQueue("q", 4097),
              Invalid("INVALID_DEPTH").Field("fault_queue.depth").Says("4097")),
      Refused("11/1", "a queue that is there", {NewQueue("q")}, NewQueue("q"),
              Exists("FAULT_QUEUE_EXISTS")),
      Asking(Refused("11/1", "a queue that domains use goes", Domains(), DeleteQueue("q"),
                     Precondition("IN_USE", "EBUSY").Blames(World::Domain("d")))),
      Refused("11/1", "a queue that is not there", {}, DeleteQueue("q"),
              NotFound("FAULT_QUEUE_NOT_FOUND")),
      Asking(Refused("4.2/6", "a domain with a queue that is not there",
                     {NewIoas("a"), Claim("asking")},
                     NewPaging("d", "a", "asking", {false, false, false, Queue("none")}),
                     NotFound("FAULT_QUEUE_NOT_FOUND"))),
      Asking(Refused("11/7", "a device without page requests, a domain with a queue",
                     Domains() + Steps{Claim("mute")}, Attach("mute", "d"),
                     Precondition("PAGE_REQUESTS_UNAVAILABLE", "ENODEV").Blames("mute"))),
      Asking(Refused("11/7", "a virtual function with page requests, a domain with a queue",
                     Domains() + Steps{Claim("virtual")}, Attach("virtual", "d"),
                     Precondition("VIRTUAL_FUNCTION", "EINVAL").Blames("virtual"))),
      Asking(Accepted("11/7", "the same, a domain without", Domains() + Steps{Claim("virtual")},
                      Attach("virtual", "n"))),
  };
}

// What is refused of answers, and how deep queues are; for these nobody need ask for a page.
std::vector<Case> Limits() {
  return {
      Accepted("11/1", "a queue as deep as it may be", {}, NewQueue("q", 4096),
               {GetQueue("q"), AnswerSays("depth: 4096")}),
      Accepted("11/1", "a queue of one group", {}, NewQueue("q", 1),
               {GetQueue("q"), AnswerSays("depth: 1")}),
      Accepted("11/1", "a queue of no depth has that of all", {}, NewQueue("q", 0),
               {GetQueue("q"), AnswerSays("depth: 256")}),
      Accepted("11/1", "a queue that nobody uses goes", {NewQueue("q")}, DeleteQueue("q"),
               {NewQueue("q")}),
      Refused("11/1", "looking at a queue that is not there", {}, GetQueue("q"),
              NotFound("FAULT_QUEUE_NOT_FOUND").Blames(Queue("q"))),
      Refused("11/5", "no answers", {NewQueue("q")}, RespondAll({}),
              Invalid("EMPTY_BATCH").Field("responses")),
      Refused("11/5", "an answer without code", {NewQueue("q")},
              Respond(1, v1::PAGE_RESPONSE_CODE_UNSPECIFIED),
              Invalid("MISSING_FIELD").Field("responses[0].code")),
      Refused("11/5", "an answer when nothing waits", {NewQueue("q")}, Respond(1, kSuccess),
              NotFound("FAULT_NOT_FOUND").Field("responses[0].cookie").Index(0)),
      Refused("11/5", "an answer to a queue that is not there", {}, Respond(1, kSuccess),
              NotFound("FAULT_QUEUE_NOT_FOUND").Blames(Queue("q"))),
  };
}

std::vector<Case> Delivery() {
  const Steps attached = Domains() + Steps{Attach("asking", "d")};
  const Steps asked = attached + Steps{Ask("asking", 0x10000)};
  return {
      Asking(Accepted("11/2", "a fault waits for the last one of its group", attached,
                      Ask("asking", 0x10000, {}, /*more=*/true), {Waiting(0)})),
      Asking(Accepted("11/2", "and then the group for an answer", attached, Ask("asking", 0x10000),
                      {Waiting(1)})),
      Asking(Accepted("11/3", "a fault with a PASID goes to its attachment",
                      Domains() + Steps{Attach("asking", "n"), AttachPasid("asking", 5, "d")},
                      Ask("asking", 0x10000, 5), {Waiting(1)})),
      Asking(Accepted("11/3", "nothing is attached", Domains(), Ask("asking", 0x10000),
                      {Waiting(0), Told("asking", kInvalid)})),
      Asking(Accepted("11/3", "a domain without queue", Domains() + Steps{Attach("asking", "n")},
                      Ask("asking", 0x10000), {Waiting(0), Told("asking", kInvalid)})),
      Asking(Accepted("11/5", "an answer: the device goes on",
                      asked + Steps{Map("a", {At(0x10000)})}, Respond(1, kSuccess),
                      {Told("asking", kSuccess), Waiting(0), Reads("asking", 0x10000, 1)})),
      Asking(Refused("11/5", "a cookie that there is not", asked, Respond(2, kSuccess),
                     NotFound("FAULT_NOT_FOUND").Field("responses[0].cookie").Index(0).Says("2"))),
      Asking(Refused("11/5", "a code that only the daemon gives", asked,
                     Respond(1, v1::PAGE_RESPONSE_CODE_FAILURE),
                     Invalid("INVALID_RESPONSE").Field("responses[0].code").Index(0))),
      Asking(Refused("11/5", "two answers to one group", asked,
                     RespondAll({{1, kSuccess}, {1, kInvalid}}),
                     Invalid("DUPLICATE_COOKIE").Field("responses[1].cookie").Says("1"))),
      Asking(Refused("11/5", "one wrong cookie beside a right one: neither is answered", asked,
                     RespondAll({{1, kSuccess}, {2, kSuccess}}),
                     NotFound("FAULT_NOT_FOUND").Field("responses[1].cookie").Index(1))),
      Asking(Accepted("11/5", "an answer that the page can not be had", asked, Respond(1, kInvalid),
                      {Told("asking", kInvalid), Waiting(0)})),
      Asking(Accepted("11/6", "what is unanswered when the device is detached", asked,
                      Detach("asking"), {Told("asking", kInvalid), Waiting(0)})),
      Asking(Accepted("11/6", "or replaced", asked, Replace("asking", "n"),
                      {Told("asking", kInvalid), Waiting(0)})),
  };
}

}  // namespace

std::vector<Case> FaultCases() {
  std::vector<Case> all = Queues();
  for (Case& row : Limits()) all.push_back(std::move(row));
  for (Case& row : Delivery()) all.push_back(std::move(row));
  return all;
}

}  // namespace viommu::conformance
