"""Terms of a distillation objective. One of penult's four packages."""
