"""What penult distill does: the task, and the teacher's logits in a file."""
