package deviceplugin

import (
	"context"
	"fmt"
	"maps"
	"time"
)

// Node is what labels are put on.
type Node interface {
	// label sets the labels that have a value, and removes those that are nil.
	label(ctx context.Context, node string, labels map[string]*string) error
}

// Times of the labeler.
const (
	labelRetry    = 2 * time.Second // after a failure, doubled each time
	labelRetryMax = 2 * time.Minute
	labelAgain    = 10 * time.Minute // somebody may have taken labels away
)

// labeler keeps the labels of a node as they should be. It never keeps the devices
// waiting: without the API server, the kubelet goes on starting pods.
type labeler struct {
	server Node
	node   string
	log    func(string)
	wanted chan map[string]*string // the latest
}

func newLabeler(server Node, node string, log func(string)) *labeler {
	return &labeler{server, node, log, make(chan map[string]*string, 1)}
}

// set says what the labels should be, and has them set even if that is no news: a
// kubelet that starts may have made its node anew.
func (l *labeler) set(labels map[string]*string) {
	select {
	case <-l.wanted: // not set yet, and outdated
	default:
	}
	l.wanted <- labels
}

func (l *labeler) run(ctx context.Context) {
	var labels map[string]*string
	retry := labelRetry
	failed := ""
	again := time.NewTimer(labelAgain)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case labels = <-l.wanted:
			retry = labelRetry
		case <-again.C:
		}
		if labels == nil {
			continue
		}
		wait := labelAgain
		if err := l.server.label(ctx, l.node, maps.Clone(labels)); ctx.Err() != nil {
			return
		} else if err != nil {
			if text := fmt.Sprintf("labels of node %s: %v", l.node, err); text != failed { // once
				l.log(text)
				failed = text
			}
			wait, retry = retry, min(2*retry, labelRetryMax)
		} else {
			if failed != "" {
				l.log(fmt.Sprintf("labels of node %s: set", l.node))
			}
			failed, retry = "", labelRetry
		}
		again.Reset(wait)
	}
}
