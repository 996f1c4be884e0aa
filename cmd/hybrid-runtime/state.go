package main

func (a *app) state() *verb {
	return &verb{
		name:  "state",
		short: "Output the state of a container",
		usage: containerID,
		least: 1, most: 1,
		run: func(args []string) error {
			r, err := a.runtime()
			if err != nil {
				return err
			}
			s, err := r.State(args[0])
			if err != nil {
				return err
			}
			return a.writeJSON(s)
		},
	}
}
