package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// report appends an error or a warning to the file of --log. The runc shim reads the
// last line of it, in the form that logrus gives it.
func (a *app) report(level string, err error) {
	if a.log == "" {
		return
	}
	f, oerr := os.OpenFile(a.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if oerr != nil {
		fmt.Fprintf(os.Stderr, "hybrid-runtime: %v\n", oerr)
		return
	}
	defer f.Close()
	now := time.Now().Format(time.RFC3339)
	if a.logFormat != "json" {
		fmt.Fprintf(f, "time=%q level=%s msg=%q\n", now, level, err.Error())
		return
	}
	_ = json.NewEncoder(f).Encode(struct {
		Level string `json:"level"`
		Msg   string `json:"msg"`
		Time  string `json:"time"`
	}{level, err.Error(), now})
}
