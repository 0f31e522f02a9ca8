"""Descent on one capture: a scene moves until its renders match the photographs.

| folder | what descends |
|---|---|
| ``object`` | shape, appearance and light of one object, from photos with masks |
| ``place`` | depth per photo, fused into one surface, from photos without masks |
| ``pose`` | the pose of a known object |
| ``cameras`` | cameras and sparse points, by structure from motion |
| ``motion`` | the camera's motion through a video, by odometry |
"""
