"""Not the simulator Brian: the task farm of Brian 1.4, on farmhand, for scripts of that time."""
