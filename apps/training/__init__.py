"""The one training loop: tasks, states, checkpoints, averages, schedules, and the process it runs in."""
