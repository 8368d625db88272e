"""A warm-up of the divergence that the training does not reach the end of is said: nothing else would tell."""

WORDS = ["--variant", "hvae", "--latent-dim", 3, "--data", "digits", "--device", "cpu", "--threads", 1, "--epochs", 0.1]


def test_a_warm_up_longer_than_the_training_is_said_once(penult):
    said = penult("train", "hvae", *WORDS, "--kl-warmup", 0.4, "--name", "short")
    assert said.status == 0
    assert (
        "--kl-warmup 0.4 is longer than --epochs 0.1: the weight of the divergence ends at 0.25, not at 1." in said.out
    )
    assert "is longer than" not in penult("train", "hvae", *WORDS, "--kl-warmup", 0.4, "--name", "short").out, "done"
    assert "is longer than" not in penult("train", "hvae", *WORDS, "--kl-warmup", 0.1, "--name", "whole").out
