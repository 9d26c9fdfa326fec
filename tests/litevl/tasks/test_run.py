"""What a run evaluated again says of the run that it was."""

from litevl.tasks.run import compare


def metrics(fingerprint="f", **results):
    return {"protocol": {"backbone_fingerprint": fingerprint}, "results": results}


def test_an_equal_evaluation_says_so():
    written = metrics(LiteVL={"accuracy": 50.0}, baseline={"accuracy": 10.0})
    assert compare(written, metrics(LiteVL={"accuracy": 50.0 + 1e-9}, baseline={"accuracy": 10.0})).startswith("equal")


def test_what_was_not_evaluated_again_is_no_difference():
    written = metrics(LiteVL={"accuracy": 50.0}, baseline={"accuracy": 10.0})
    assert compare(written, metrics(LiteVL={"accuracy": 50.0})).startswith("equal")


def test_differences_are_named():
    said = compare(metrics(LiteVL={"accuracy": 50.0}), metrics("g", LiteVL={"accuracy": 51.0}))
    assert "backbone_fingerprint: f -> g" in said
    assert "LiteVL.accuracy: 50.0 -> 51.0" in said
