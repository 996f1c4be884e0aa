package sysfs

import "fmt"

// sysTree is DIR/sys. As in the kernel's the class holds links only, and a processor
// lies below the device that the device tree describes.
func sysTree(k *kernel, config Config, cores []*Core, files *search) *folder {
	class, debug := newFolder(0o755), newFolder(0o755)
	platform, base := newFolder(0o755), newFolder(0o755)
	base.addFile(property("compatible", config.Compatible...)).addFile(property("model", config.Model))
	for _, c := range cores {
		node := c.config.NodeName
		processor := newFolder(0o755)
		for _, f := range c.attributes() {
			processor.addFile(f)
		}
		processor.live = c.devices
		processor.addLink("device", "../../../"+node)
		processor.addLink("subsystem", "../../../../../class/remoteproc")
		platform.add(node, newFolder(0o755).
			addLink("of_node", "../../../firmware/devicetree/base/"+node).
			add("remoteproc", newFolder(0o755).add(c.instance, processor)))
		class.addLink(c.instance, fmt.Sprintf("../../devices/platform/%s/remoteproc/%s", node, c.instance))

		base.add(node, newFolder(0o755).
			addFile(property("compatible", c.config.Compatible...)).addFile(property("name", node)))

		traces := newFolder(0o755)
		for _, f := range c.debug() {
			traces.addFile(f)
		}
		traces.core = c
		debug.add(c.instance, traces)
	}
	dumpClass, dumped := newFolder(0o755).addFile(k.dumps.disabledFile()), newFolder(0o755)
	dumpClass.live = func() []*liveEntry { return k.dumps.entries(func(d *dump) *liveEntry { return d.inClass }) }
	dumped.live = func() []*liveEntry { return k.dumps.entries(func(d *dump) *liveEntry { return d.device }) }
	terminals, channels := newFolder(0o755), newFolder(0o755)
	terminals.live = func() []*liveEntry { return k.ttys.entries(func(t *tty) *liveEntry { return t.inClass }) }
	channels.live = func() []*liveEntry { return k.ttys.entries(func(t *tty) *liveEntry { return t.onBus }) }
	dir := func(name string, child *folder) *folder { return newFolder(0o755).add(name, child) }
	return newFolder(0o755).
		add("bus", dir("rpmsg", dir("devices", channels))).
		add("class", newFolder(0o755).add("devcoredump", dumpClass).add("remoteproc", class).add("tty", terminals)).
		add("devices", newFolder(0o755).add("platform", platform).add("virtual", dir("devcoredump", dumped))).
		add("firmware", dir("devicetree", dir("base", base))).
		add("kernel", newFolder(0o755).add("debug", newFolder(0o700).add("remoteproc", debug))).
		add("module", dir("firmware_class", dir("parameters", newFolder(0o755).addFile(files.parameterFile()))))
}

// simTree is DIR/sim.
func simTree(cores []*Core) *folder {
	root := newFolder(0o755)
	for _, c := range cores {
		root.add(c.instance, newFolder(0o755).addFile(c.control()).addFile(c.receivedFile()))
	}
	return root
}

// property is a string list of a device tree: each string ends with a zero.
func property(name string, values ...string) *file {
	var list string
	for _, s := range values {
		list += s + "\x00"
	}
	return &file{name: name, mode: 0o444, size: uint64(len(list)), show: constant(list)}
}
