"""What a depth network says about a video, as files."""
