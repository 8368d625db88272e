"""What penult distill does: its program, what it refuses, the task, and the teacher's logits in a file."""
