"""installed_repository(): a Bazel repository over what a Debian package put under /usr.

Headers are found by the compiler's own search path, so the targets of such a repository carry link
options only. Bazel therefore does not notice a package upgrade: `bazel clean --expunge` after one.
"""

# A library that upstream has as a target of its own, but Debian ships as part of a whole.
_PART = """
cc_library(
    name = "%s",
    deps = ["//:installed"],
)
"""

def _installed_repository_impl(ctx):
    absent = [path for path in ctx.attr.needs + ctx.attr.links.values() if not ctx.path(path).exists]
    if absent:
        fail("@%s needs %s. Run ./dev setup, or: apt-get install %s" %
             (ctx.name, ", ".join(absent), " ".join(ctx.attr.apt)))

    ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)
    for template, path in ctx.attr.files.items():
        ctx.symlink(template, path)
    for path, target in ctx.attr.links.items():
        ctx.symlink(target, path)
    for package, names in ctx.attr.parts.items():
        head = "package(default_visibility = [\"//visibility:public\"])\n"
        ctx.file(package + "/BUILD.bazel", head + "".join([_PART % name for name in names]))

installed_repository = repository_rule(
    implementation = _installed_repository_impl,
    doc = "Fails with the apt-get line to run when the package is not installed.",
    attrs = {
        "apt": attr.string_list(mandatory = True, doc = "Debian packages, for the error message."),
        "files": attr.label_keyed_string_dict(
            mandatory = True,
            allow_files = True,
            doc = "Files of ours -> where they appear in the repository (BUILD.bazel, *.bzl).",
        ),
        "links": attr.string_dict(doc = "Path in the repository -> installed path."),
        "needs": attr.string_list(doc = "Installed paths that must exist."),
        "parts": attr.string_list_dict(
            doc = "Package -> names of cc_library targets that stand for //:installed.",
        ),
    },
    # Looked at again by every new Bazel server: the answer changes when apt-get runs.
    local = True,
    configure = True,
)
