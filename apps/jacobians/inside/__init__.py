"""How much of each saliency map lies on the object, beside what maps that know no network have there."""
