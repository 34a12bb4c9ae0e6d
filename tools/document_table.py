"""Where each command that a document shows is run; //tests/docs:commands_test wants a row for each.

QUICK and SLOW are run by tools/run_documents.py: QUICK at the end of ./dev test, both by
./dev documents.
"""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """How a command is run: as it stands, until it ends with 0, unless this says otherwise."""
    fill: tuple = ()       # (placeholder, what stands for it)
    before: str = ""       # Makes what the command takes.
    prints: str = ""       # A part of it.
    after: str = ""        # Fails unless the command has done what the document says.
    serves: bool = False   # A viommud: asked when it serves, and ended.
    rewrites: tuple = ()   # Files under version control: it has to, and they are put back.
    makes: str = ""        # Something outside of the checkout; it is taken away.
    installs: bool = False  # Onto the machine: run where /etc and /usr/local are copies.


_STAGE = "/tmp/stage"
_CRASH = ".fuzz/engine/crash-of-a-document"
_PACKAGE = ".packages/viommu_0.1.0_amd64.deb"

QUICK = {
    "./dev build //clients/viommuctl": Row(after="bazel-bin/clients/viommuctl/viommuctl help"),
    "./dev demo": Row(),
    "./dev help": Row(prints="usage: ./dev COMMAND"),
    "./dev run": Row(serves=True),
    "./dev run --topology deploy/topologies/arm-server.textproto": Row(serves=True),
    "./dev run --topology deploy/topologies/nesting.textproto": Row(serves=True),
    "promtool check rules deploy/monitoring/alerts.yaml": Row(prints="rules found"),
    "promtool test rules deploy/monitoring/alerts_test.yaml": Row(prints="SUCCESS"),
    # What it writes is what is there: the checkout is compared.
    "python3 deploy/monitoring/dashboard.py": Row(),
    "sed 's|docs/RUNBOOK.md|https://wiki.example/viommu/RUNBOOK|' deploy/monitoring/alerts.yaml":
        Row(prints="runbook_url: https://wiki.example/viommu/RUNBOOK#"),
    "viommu-device-plugin --help": Row(prints="  --config FILE"),
    "viommud --help": Row(prints="  --config FILE"),
    "viommud --topology FILE": Row(
        fill=(("FILE", "deploy/topologies/default.textproto"),), serves=True),
}

SLOW = {
    "./dev bench": Row(rewrites=("docs/BENCHMARKS.md", "docs/benchmarks.svg")),
    "./dev bench page_table": Row(),
    # What it finds is quick, and not this.
    "./dev documents FILTER": Row(fill=(("FILTER", "'dev help'"),), prints="1 passed, 0 failed\n"),
    "./dev fuzz 25 config": Row(),
    "./dev fuzz 60 engine_fuzz": Row(),
    "./dev fuzz 80": Row(),
    "./dev fuzz 960": Row(),
    "./dev fuzz SECONDS": Row(fill=(("SECONDS", "9"),)),
    "./dev install": Row(installs=True, after="/usr/local/sbin/viommud --version"),
    "./dev install DESTDIR=/tmp/stage PREFIX=/usr": Row(
        makes=_STAGE, after=f"{_STAGE}/usr/sbin/viommud --version && test -e {_STAGE}/etc/viommu"),
    "./dev package": Row(before=f"rm -f {_PACKAGE}", after=f"dpkg-deb --info {_PACKAGE}"),
    "./dev sanitize asan": Row(),
    "./dev test //tests/e2e:connection_attack_test //tests/e2e:message_attack_test "
    "//tests/e2e:call_limits_test //tests/e2e:unread_answers_test --test_output=all": Row(),
    # Every ./dev test has run these; once more they take ten seconds.
    "./dev test //tests/monitoring/...": Row(prints=" passed, 0 failed\n"),
    "bazel build --config=fuzz //tests/fuzz:engine_fuzz": Row(
        after="bazel-bin/tests/fuzz/engine_fuzz -help=1"),
    "bazel run -c opt //engine:unmap_all_benchmark": Row(),
    "bazel test //tests/fuzz:engine_fuzz_test --test_env=FUZZ_RUNS=100000 --test_env=FUZZ_SEED=7 "
    "--test_timeout=3600": Row(),
    "bazel-bin/tests/fuzz/engine_fuzz .fuzz/engine/crash-...": Row(
        before="bazel build --config=fuzz //tests/fuzz:engine_fuzz && mkdir -p .fuzz/engine && "
               f"cp tests/fuzz/corpus/engine/map {_CRASH}",
        fill=((".fuzz/engine/crash-...", _CRASH),), after=f"rm {_CRASH}"),
}

# Command -> the test that runs it.
_LINES = "//tests/docs:viommuctl_lines_test"
_MACHINE = "//tests/deploy:machine_test"
_KUBECTL = "//tests/deploy:kubectl_test"
ELSEWHERE = {
    "source <(viommuctl completion bash)": _LINES,
    "viommuctl health": _LINES,
    "viommuctl list attachments": _LINES,
    "viommuctl list listeners": _LINES,
    "viommuctl map vm0 --region ram --size 1G --iova 0x40000000": _LINES,
    "viommuctl tables export FILE": _LINES,
    "apt install ./.packages/viommu_0.1.0_amd64.deb": _MACHINE,
    "apt purge viommu": _MACHINE,
    "apt remove viommu": _MACHINE,
    "export VIOMMU_TARGET=/run/viommu/viommud.sock": _MACHINE,
    "journalctl -u viommud -o cat": _MACHINE,
    "systemctl enable --now viommud.service": _MACHINE,
    "systemctl restart viommud.service": _MACHINE,
    "systemd-sysusers viommu.conf": _MACHINE,
    "systemd-tmpfiles --create viommu.conf": _MACHINE,
    "kubectl apply -f vmm.yaml": _KUBECTL,
    "kubectl apply -k deploy/kubernetes/overlays/host-iommu": _KUBECTL,
    "kubectl apply -k deploy/kubernetes/overlays/soft": _KUBECTL,
    "kubectl get node -o jsonpath='{.items[*].status.allocatable}'": _KUBECTL,
}

# Run by whoever runs these rows; so neither ever starts itself.
UNDER_WAY = ("./dev documents", "./dev test")

# A command with the operands left out that it can not do without: the text means it by its name. As
# it stands it is refused as wrong usage, and its help is there.
NAMES = (
    "./dev fuzz",
    "viommuctl list event-queues",
    "viommuctl release",
    "viommuctl reset",
    "viommuctl set-default-domain",
    "viommuctl tables",
    "viommuctl tables export",
    "viommuctl unplug",
)


def rows():
    """The commands of all classes."""
    return [*QUICK, *SLOW, *ELSEWHERE, *UNDER_WAY, *NAMES]
