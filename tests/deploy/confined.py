"""Tries what viommud's unit forbids or needs, and writes what came of each into a file, as JSON.

It runs on a machine of //tests/deploy:unit_test, once freely and once in place of viommud.
"""
import ctypes
import errno
import json
import mmap
import os
import socket
import sys

_CLONE_NEWUSER = 0x10000000
_ADDR_NO_RANDOMIZE = 0x0040000
_PTRACE_TRACEME = 0
_STATE = "/var/lib/viommu/confined"
_LIBC = ctypes.CDLL(None, use_errno=True)


def _call(name, *arguments):
    """A function of libc that has no place in Python 3.11."""
    if getattr(_LIBC, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


def _write(path):
    with open(path, "w", encoding="utf-8"):
        pass


def _make_setuid():
    _write(_STATE)
    os.chmod(_STATE, 0o4700)


def _give_to_group():
    _write(_STATE)
    os.chown(_STATE, -1, os.getgid())


_ATTEMPTS = {
    "write to its state": lambda: _write(_STATE),
    "write to where sockets are": lambda: _write("/run/viommu/confined"),
    "give a file to a group": _give_to_group,
    "write where everybody may": lambda: _write("/srv/open/file"),
    "read a home": lambda: os.listdir("/home/open"),
    "see what others have in /tmp": lambda: os.stat("/tmp/of-others"),
    "see the processes of others": lambda: os.stat("/proc/1"),
    "ask the kernel over netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "make a user namespace": lambda: _call("unshare", _CLONE_NEWUSER),
    "write code into memory": lambda: mmap.mmap(
        -1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close(),
    "make a setuid file": _make_setuid,
    "be traced": lambda: _call("ptrace", _PTRACE_TRACEME, 0, None, None),
    "change its personality": lambda: _call("personality", _ADDR_NO_RANDOMIZE),
}


def _outcome(attempt):
    """The name of an error, or "done". In a process of its own, as some change what tries them."""
    child = os.fork()
    if child == 0:
        try:
            attempt()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
        finally:
            os._exit(255)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return errno.errorcode.get(code, str(code)) if code else "done"


def _privileges():
    with open("/proc/self/status", encoding="utf-8") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file)
    return {name: status[name] for name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")}


def main():
    attempts = {name: _outcome(attempt) for name, attempt in _ATTEMPTS.items()}
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump({"attempts": attempts, "privileges": _privileges()}, file)


if __name__ == "__main__":
    main()
