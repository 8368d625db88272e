"""What a layer's features discard of an image: how far each pixel may move, and they still stay where they are."""
