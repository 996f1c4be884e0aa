package sysfs

import (
	"fmt"
	"strings"

	"github.com/hybrid-containers/hybrid/board"
)

// Of is the configuration that simulates a board of the catalogue: a processor for
// each of its cores. One whose memory the catalogue does not know takes firmware for
// any address.
func Of(b *board.Board) Config {
	c := Config{Compatible: b.Compatible, Model: b.Model}
	for _, core := range b.Cores {
		_, node, ok := strings.Cut(core.Compatible, ",")
		if !ok {
			node = core.Compatible
		}
		memory := core.Memory
		if memory == nil {
			memory = []board.Region{{Name: "any", Start: 0, Size: 1 << 32}}
		}
		// newer kernels name the processors of i.MX so; a name means nothing
		c.Processors = append(c.Processors, Processor{
			Name: node, NodeName: node, Compatible: []string{core.Compatible}, Memory: memory,
		})
	}
	return c
}

// Times is the configuration with n of each processor, which differ in their nodes'
// names: m4-0, m4-1, and so on.
func (c Config) Times(n int) Config {
	if n == 1 {
		return c
	}
	var processors []Processor
	for _, p := range c.Processors {
		node := p.NodeName
		for i := range n {
			p.NodeName = fmt.Sprintf("%s-%d", node, i)
			processors = append(processors, p)
		}
	}
	c.Processors = processors
	return c
}
