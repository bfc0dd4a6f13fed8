"""The geometric filter: points of frames in, the person's neutral face and its band out.

Read in this order: face_basis (the shapes), projection (camera), start_pose, point_fit (one frame),
information (what adds up), belief (the state over frames), expression (blendshape weights).
"""
