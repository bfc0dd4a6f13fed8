"""Makes what the package and its trained run carry besides a network, out of made-up people.

The pose of heads (`head_pose`, `pose_refinement`), a run's errors (`calibrate`), the looks that
faces share (`mean_looks`, `people_odds`), a whole head (`template_head`), photographs to try
(`sample_people`), and the small copy of the run itself (`package_run`).
"""
