"""Terms of a distillation objective."""
