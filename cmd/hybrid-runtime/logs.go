package main

func (a *app) logs() *verb {
	return &verb{
		name:  "logs",
		short: "Print what the firmware has written",
		usage: containerID,
		least: 1, most: 1,
		run: func(args []string) error {
			r, err := a.runtime()
			if err != nil {
				return err
			}
			return r.Logs(args[0], a.out)
		},
	}
}
