package main

func (a *app) inspect() *verb {
	return &verb{
		name:  "inspect",
		short: "Show all that is known of a container, as JSON",
		more:  true,
		usage: containerID,
		least: 1, most: 1,
		run: func(args []string) error {
			r, err := a.runtime()
			if err != nil {
				return err
			}
			i, err := r.Inspect(args[0])
			if err != nil {
				return err
			}
			return a.writeJSON(i)
		},
	}
}
