package main

func (a *app) start() *verb {
	return &verb{
		name:  "start",
		short: "Start a created container",
		usage: containerID,
		least: 1, most: 1,
		run: func(args []string) error {
			r, err := a.runtime()
			if err != nil {
				return err
			}
			return r.Start(args[0])
		},
	}
}
