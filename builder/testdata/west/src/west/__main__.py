"""As much of west as the Dockerfiles call: init -l, update and build."""

import argparse
import os
import pathlib
import re
import subprocess


def top():
    folder = pathlib.Path.cwd()
    while not (folder / ".west" / "config").is_file():
        if folder == folder.parent:
            raise SystemExit("FATAL ERROR: no west workspace here")
        folder = folder.parent
    return folder


def init(args):
    manifest = pathlib.Path(args.manifest)
    if not (manifest / "west.yml").is_file():
        raise SystemExit(f"FATAL ERROR: {manifest} has no west.yml")
    folder = manifest.resolve().parent / ".west"
    folder.mkdir()
    (folder / "config").write_text(f"[manifest]\npath = {manifest}\nfile = west.yml\n")


def update(args):
    """Projects are lines "- name: NAME", "url: URL", "revision: REVISION", "path: PATH"."""
    config = (top() / ".west" / "config").read_text()
    manifest = top() / re.search(r"path = (.*)", config)[1] / "west.yml"
    for project in manifest.read_text().split("- ")[1:]:
        field = dict(re.findall(r"(\w+): (\S+)", project))
        if args.projects and field["name"] not in args.projects:
            continue
        path = top() / field["path"]
        subprocess.run(["git", "init", "-q", path], check=True)
        fetch = ["git", "-C", path, "fetch", "-q", *args.fetch_opt, field["url"], field["revision"]]
        subprocess.run(fetch, check=True)
        subprocess.run(["git", "-C", path, "checkout", "-q", "FETCH_HEAD"], check=True)


def build(args):
    zephyr = top() / "zephyr"
    env = dict(os.environ, ZEPHYR_BASE=str(zephyr))
    cmake = ["cmake", "-GNinja", f"-DBOARD={args.board}", "-S", args.source, "-B", args.build]
    subprocess.run(cmake, env=env, check=True)
    subprocess.run(["cmake", "--build", args.build], env=env, check=True)


parser = argparse.ArgumentParser("west")
commands = parser.add_subparsers(required=True)
p = commands.add_parser("init")
p.add_argument("-l", dest="manifest", required=True)
p.set_defaults(run=init)
p = commands.add_parser("update")
p.add_argument("--narrow", action="store_true")
p.add_argument("--fetch-opt", action="append", default=[])
p.add_argument("projects", nargs="*")
p.set_defaults(run=update)
p = commands.add_parser("build")
p.add_argument("-b", dest="board", required=True)
p.add_argument("-d", dest="build", required=True)
p.add_argument("source")
p.set_defaults(run=build)
args = parser.parse_args()
args.run(args)
