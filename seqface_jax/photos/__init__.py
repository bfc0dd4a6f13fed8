"""Photos and videos: reading them, finding the face, its crop and the pose of the head."""
