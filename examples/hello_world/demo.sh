#!/bin/sh
# From source to core: builds hello_world with BuildKit, runs it on the virtual board.
# "make demo" calls it; without arguments it is the build host, with "board" the board.
set -eu

# run prints a command as a user would type it, and runs it.
run() {
	if [ -t 1 ]; then printf '\n\033[1m%s %s\033[0m\n' "$prompt" "$*"; else printf '\n%s %s\n' "$prompt" "$*"; fi
	"$@"
}

# await waits until a command succeeds, for at most 20 s.
await() {
	left=200
	until "$@"; do
		left=$((left - 1))
		if [ $left = 0 ]; then echo "demo: waited for 20 s in vain: $*" >&2; exit 1; fi
		sleep 0.1
	done
}

said() { hybrid-runtime logs hello | grep -q "$1"; }
stopped() { hybrid-runtime state hello | grep -q '"stopped"'; }

if [ "${1:-}" = board ]; then
	prompt="root@qemu-virt:~#"
	cd "$2"
	run hybrid-runtime create --image hello.tar hello
	run hybrid-runtime start hello
	await said "tick 2"
	run hybrid-runtime logs hello
	run hybrid-runtime state hello
	run hybrid-runtime list
	run hybrid-runtime kill hello
	await stopped
	run hybrid-runtime list
	run hybrid-runtime delete hello
	run cat /sys/class/remoteproc/remoteproc0/state
	exit
fi

prompt="$"
cd "$(dirname "$0")/../.."
PATH=$PWD/bin:$PATH
base=${HYBRID_SDK_BASE:?run make demo}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
root=
[ "$(id -u)" = 0 ] || root="sudo env PATH=$PATH"

echo "==> 1. source to image: BuildKit compiles for the core, hybrid checks and annotates"
run $root hybrid build --board qemu-virt --mcu cortex-m4 --build-context "toolchain=oci-layout://$base" \
	--output "type=oci,dest=$work/hello.tar" examples/hello_world

echo
echo "==> 2. image to core: Linux in QEMU, and beside it a Cortex-M that executes the firmware"
hybrid-sim fetch
cp examples/hello_world/demo.sh "$work"
hybrid-sim vm --share "$work:/demo" --share "$PWD/bin/linux_arm:/usr/local/bin:const" -- sh /demo/demo.sh board /demo

echo
echo "==> 3. the same source for the Cortex-M4 of an i.MX8M Mini"
run $root hybrid build --build-context "toolchain=oci-layout://$base" \
	--output "type=docker,name=target,dest=$work/target.tar,annotation[linux/arm64].board=imx8m-mini,mcu=cortex-m4" examples/hello_world
digest=$(tar -xOf "$work/target.tar" index.json | grep -o 'sha256:[0-9a-f]*' | head -n 1)
run tar -xOf "$work/target.tar" "blobs/sha256/${digest#sha256:}"
printf '\n\nOn the board: hybrid-runtime create --image target.tar hello && hybrid-runtime start hello\n'
