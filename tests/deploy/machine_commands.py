"""Which commands of the documents //tests/deploy:machine_test runs, and how it finds them there."""
import re

# Each is run as it stands, by a machine's root, where and when a reader of the document meets it.
RUN = frozenset((
    "apt install ./.packages/viommu_0.1.0_amd64.deb",
    "apt purge viommu",
    "apt remove viommu",
    "export VIOMMU_TARGET=/run/viommu/viommud.sock",
    "journalctl -u viommud -o cat",
    "systemctl enable --now viommud.service",
    "systemctl restart viommud.service",
    "systemd-sysusers viommu.conf",
    "systemd-tmpfiles --create viommu.conf",
    "viommuctl health",
))

# A fence for a shell, or code within a line.
_CODE = re.compile(r"^```sh\n(.*?)^```$|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
_PROGRAM = re.compile(r"(apt|export|journalctl|systemctl|systemd-\w+|viommuctl|\./dev) ")


def section(document, title):
    """The text below a heading, up to the next one."""
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", document,
                     re.MULTILINE | re.DOTALL)[1]


def commands(text):
    """The commands that a text shows and a host's root could run, in its order."""
    found = []
    for block, inline in _CODE.findall(text):
        found += [line for line in (block or inline).splitlines() if _PROGRAM.match(line)]
    return found
