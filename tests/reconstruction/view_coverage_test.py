from seqface_jax.reconstruction.view_coverage import ViewCoverage


def test_of_a_head_that_stands_still_ever_fewer_frames_are_painted():
    coverage = ViewCoverage()
    painted = [number for number in range(1000) if coverage.adds((1.0, 2.0, 0.0), 1.0)]
    assert painted[:4] == [0, 4, 8, 12]
    assert len([number for number in painted if number < 128]) == 32
    assert len([number for number in painted if number >= 512]) == 488 // 32 + 1


def test_each_view_counts_by_itself():
    coverage = ViewCoverage()
    views = [(yaw, pitch, 0.0) for yaw in range(-40, 40, 5) for pitch in (-5, 0)]
    assert all(coverage.adds(view, 1.0) for view in views)
    assert not any(coverage.adds(view, 1.0) for view in views)


def test_a_better_frame_is_painted_at_once_and_a_little_better_one_is_not():
    coverage = ViewCoverage()
    said = [coverage.adds((0.0, 0.0, 0.0), goodness) for goodness in (1.0, 1.05, 2.0, 2.1)]
    assert said == [True, False, True, False]
