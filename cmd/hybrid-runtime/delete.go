package main

func (a *app) delete() *verb {
	var force bool
	return &verb{
		name:  "delete",
		short: "Deletes any resources held by the container",
		usage: "[OPTIONS] <CONTAINER_ID>",
		least: 1, most: 1,
		options: func(o *options) {
			o.bool(&force, "force", "f", "Forcibly deletes the container if it is still running (using SIGKILL)")
		},
		run: func(args []string) error {
			r, err := a.runtime()
			if err != nil {
				return err
			}
			return r.Delete(args[0], force)
		},
	}
}
