package sysfs

import (
	"fmt"
	"strings"
)

// sysTree is DIR/sys. As in the kernel's the class holds links only, and a processor
// lies below the device that the device tree describes.
func sysTree(config Config, cores []*Core, files *search) *folder {
	class, debug := newFolder(0o755), newFolder(0o755)
	platform, base := newFolder(0o755), newFolder(0o755)
	base.addFile(&file{name: "compatible", mode: 0o444, show: constant(stringList(config.Compatible...))})
	base.addFile(&file{name: "model", mode: 0o444, show: constant(stringList(config.Model))})
	for _, c := range cores {
		node := c.config.NodeName
		processor := newFolder(0o755)
		for _, f := range c.attributes() {
			processor.addFile(f)
		}
		processor.addLink("device", "../../../"+node)
		processor.addLink("subsystem", "../../../../../class/remoteproc")
		platform.add(node, newFolder(0o755).
			addLink("of_node", "../../../firmware/devicetree/base/"+node).
			add("remoteproc", newFolder(0o755).add(c.instance, processor)))
		class.addLink(c.instance, fmt.Sprintf("../../devices/platform/%s/remoteproc/%s", node, c.instance))

		base.add(node, newFolder(0o755).
			addFile(&file{name: "compatible", mode: 0o444, show: constant(stringList(c.config.Compatible...))}).
			addFile(&file{name: "name", mode: 0o444, show: constant(stringList(node))}))

		traces := newFolder(0o755)
		for _, f := range c.debug() {
			traces.addFile(f)
		}
		traces.core = c
		debug.add(c.instance, traces)
	}
	dir := func(name string, child *folder) *folder { return newFolder(0o755).add(name, child) }
	return newFolder(0o755).
		add("class", dir("remoteproc", class)).
		add("devices", dir("platform", platform)).
		add("firmware", dir("devicetree", dir("base", base))).
		add("kernel", newFolder(0o755).add("debug", newFolder(0o700).add("remoteproc", debug))).
		add("module", dir("firmware_class", dir("parameters", newFolder(0o755).addFile(files.parameterFile()))))
}

// simTree is DIR/sim.
func simTree(cores []*Core) *folder {
	root := newFolder(0o755)
	for _, c := range cores {
		root.add(c.instance, newFolder(0o755).addFile(c.control()))
	}
	return root
}

// stringList is a property of a device tree: each string ends with a zero.
func stringList(s ...string) string {
	if len(s) == 0 {
		return ""
	}
	return strings.Join(s, "\x00") + "\x00"
}
