package deviceplugin

import (
	"encoding/json"
	"strings"

	"github.com/hybrid-containers/hybrid/board"
)

// Labels of a node, beside one for each kind of core, by the name of its resource.
const (
	LabelBoard      = Domain + "board"      // the board's name
	LabelRemoteproc = Domain + "remoteproc" // true: it has a processor for firmware
)

// maxLabel is the longest value of a label, in bytes.
const maxLabel = 63

// labels are all labels that a node may have from us; those that are not true are nil,
// which removes them. So they can be set without being read before, and what a
// plugin before us has left goes.
func (i inventory) labels() map[string]*string {
	yes := "true"
	labels := map[string]*string{LabelBoard: nil, LabelRemoteproc: nil}
	for _, mcu := range board.MCUs() {
		labels[resourceOf(mcu)] = nil
	}
	if len(i.devices) == 0 {
		return labels // not a board for us
	}
	labels[LabelRemoteproc] = &yes
	if name := labelValue(i.board); name != "" {
		labels[LabelBoard] = &name
	}
	for _, resource := range i.resources() {
		labels[resource] = &yes
	}
	return labels
}

// labelValue makes a name one that a label may have: a board that is in no catalogue
// is called by its device tree, VENDOR,BOARD.
func labelValue(name string) string {
	const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(alphanumeric+"-_.", r) {
			return r
		}
		return '-'
	}, name)
	name = strings.TrimLeft(name, "-_.")
	if len(name) > maxLabel {
		name = name[:maxLabel]
	}
	return strings.TrimRight(name, "-_.")
}

// labelPatch is a JSON merge patch (RFC 7386) of a node.
func labelPatch(labels map[string]*string) ([]byte, error) {
	return json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
}
