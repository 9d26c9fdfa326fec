"""A run that is killed or told to stop goes on to the same end, bit for bit."""

import random
import signal

import faults
import pytest
import torch
from outcome import differences, outcome

EACH_STEP = ("--save-every", 1e-6)
CHANCE = random.Random(7).randrange(4, 8)


def steps_saved(folder):
    """The step that the saved state is of; it loads whole."""
    return torch.load(folder / "state.pt", weights_only=True)["progress"]["step"]


def goes_on(run, folder, reference, processes=1):
    ended = run(resume=True, processes=processes)
    assert ended.codes == [0] * processes, ended.said
    assert differences(outcome(folder), reference) == []


def test_what_is_random_and_what_is_remembered_is_in_the_run(uninterrupted):
    """The reference has dropout, LoRA, a schedule, a momentum copy and a queue, so that losing one would show."""
    names = uninterrupted().keys()
    for part in ("lora_A", "momentum.value_0", "queue.video", "queue.position", "exp_avg_sq", "temperature"):
        assert any(part in name for name in names), part


def test_the_same_seed_ends_in_the_same_bits(run, uninterrupted, tmp_path):
    run()
    assert differences(outcome(tmp_path / "run"), uninterrupted()) == []


def test_dropout_is_at_work(run, uninterrupted, backbone, backbone_with_dropout, tmp_path):
    run(instead={backbone_with_dropout: backbone})
    assert "log" in differences(outcome(tmp_path / "run"), uninterrupted())


class TestKilled:
    @pytest.mark.parametrize("step", [0, 3, CHANCE])
    @pytest.mark.parametrize("often", [(), EACH_STEP], ids=["saved each epoch", "saved each step"])
    def test_in_a_step(self, run, uninterrupted, tmp_path, step, often):
        ended = run(faults.in_step(step, faults.kill), often)
        assert ended.code == -signal.SIGKILL
        if step and often:
            assert steps_saved(tmp_path / "run") == step
        goes_on(run, tmp_path / "run", uninterrupted())

    @pytest.mark.parametrize(
        "fault",
        [
            faults.half_way_through_the_state(0, faults.kill),
            faults.half_way_through_the_state(3, faults.kill),
            faults.while_adapters_are_renamed(1, faults.kill),
            faults.while_adapters_are_renamed(5, faults.kill),
        ],
        ids=["first state", "a later state", "first adapters", "later adapters"],
    )
    def test_while_saving(self, run, uninterrupted, tmp_path, fault):
        assert run(fault, EACH_STEP).code == -signal.SIGKILL
        left = [path.name for path in (tmp_path / "run").iterdir()]
        assert any(name.endswith(".writing") or name.startswith(".litevl-") for name in left)
        if (tmp_path / "run" / "state.pt").exists():
            steps_saved(tmp_path / "run")
        goes_on(run, tmp_path / "run", uninterrupted())

    @pytest.mark.parametrize("evaluation", [0, 1, 2], ids=["of an epoch", "of the last epoch", "of the test split"])
    def test_in_an_evaluation(self, run, uninterrupted, tmp_path, evaluation):
        assert run(faults.in_evaluation(evaluation, faults.kill)).code == -signal.SIGKILL
        # Not the epoch before: what was trained when the evaluation began is there.
        assert steps_saved(tmp_path / "run") == (4, 8, 8)[evaluation]
        goes_on(run, tmp_path / "run", uninterrupted())

    def test_twice(self, run, uninterrupted, tmp_path):
        run(faults.in_step(2, faults.kill), EACH_STEP)
        run(faults.in_step(3, faults.kill), resume=True)
        goes_on(run, tmp_path / "run", uninterrupted())


class TestToldToStop:
    @pytest.mark.parametrize(
        ("act", "code", "name"), [(faults.terminate, 143, "SIGTERM"), (faults.interrupt, 130, "SIGINT")]
    )
    def test_in_a_step(self, run, uninterrupted, tmp_path, act, code, name):
        ended = run(faults.in_step(5, act))
        assert ended.code == code, ended.said
        assert f"{name}: stopping after this step" in ended.said[0]
        folder = tmp_path / "run"
        assert ended.error == f"stopped by {name}: the state is saved; go on with --resume --output-dir {folder}"
        assert steps_saved(folder) == 6  # the step was ended
        assert not (folder / ".running").exists()
        goes_on(run, folder, uninterrupted())

    def test_in_the_last_step_of_an_epoch(self, run, uninterrupted, tmp_path):
        assert run(faults.in_step(3, faults.terminate)).code == 143
        assert steps_saved(tmp_path / "run") == 4
        goes_on(run, tmp_path / "run", uninterrupted())

    @pytest.mark.parametrize("act", [faults.terminate, faults.interrupt])
    def test_in_an_evaluation(self, run, uninterrupted, tmp_path, act):
        ended = run(faults.in_evaluation(1, act))
        assert ended.code in (143, 130), ended.said
        assert "the state is saved; go on with --resume" in ended.error
        assert "Traceback" not in ended.said[0]
        goes_on(run, tmp_path / "run", uninterrupted())

    def test_before_training(self, run, uninterrupted, tmp_path):
        ended = run(faults.in_evaluation(0, faults.terminate), ("--baseline",))
        assert (ended.code, ended.error) == (143, "stopped by SIGTERM: nothing is lost")
        assert not (tmp_path / "run" / "state.pt").exists()

    def test_a_second_time_at_once(self, run, tmp_path):
        ended = run(faults.in_step(5, faults.insist))
        assert ended.code == 130, ended.said
        assert steps_saved(tmp_path / "run") == 4  # the step was not ended; the state is that of the epoch

    def test_with_the_workers_that_decode(self, run, uninterrupted, tmp_path):
        fault = faults.in_a_group_of_its_own(faults.in_step(2, faults.terminate_all))
        ended = run(fault, instead={0: 2})  # workers
        assert ended.code == 143, ended.said
        goes_on(run, tmp_path / "run", uninterrupted())


class TestSeveralProcesses:
    @pytest.mark.parametrize(
        ("fault", "at"),
        [
            (faults.in_step(6, faults.kill), 1),
            (faults.half_way_through_the_state(3, faults.kill), 0),
            (faults.in_evaluation(1, faults.kill), 0),
        ],
        ids=["in a step", "the one that saves, while saving", "in an evaluation"],
    )
    def test_one_is_killed(self, run, uninterrupted, tmp_path, fault, at):
        ended = run(fault, EACH_STEP, processes=2, at=at)
        other = 1 - at
        assert (ended.codes[at], ended.codes[other]) == (-signal.SIGKILL, 1), ended.said
        error = ended.said[other].strip().splitlines()[-1]
        assert error.startswith(f"error: process {other} of 2 lost another one, which has ended"), ended.said
        assert f"--resume --output-dir {tmp_path / 'run'}" in error
        goes_on(run, tmp_path / "run", uninterrupted(2), processes=2)

    def test_both_are_killed(self, run, uninterrupted, tmp_path):
        ended = run(faults.in_step(3, faults.kill), EACH_STEP, processes=2, at=None)
        assert ended.codes == [-signal.SIGKILL, -signal.SIGKILL]
        goes_on(run, tmp_path / "run", uninterrupted(2), processes=2)

    @pytest.mark.parametrize("at", [0, 1])
    def test_one_is_told_to_stop_and_all_do_after_the_same_step(self, run, uninterrupted, tmp_path, at):
        ended = run(faults.in_step(5, faults.terminate), processes=2, at=at)
        assert ended.codes == [143, 143], ended.said
        assert steps_saved(tmp_path / "run") == 6
        goes_on(run, tmp_path / "run", uninterrupted(2), processes=2)

    def test_another_number_of_processes_goes_on_and_says_so(self, run, tmp_path):
        run(faults.in_step(5, faults.terminate))
        ended = run(resume=True, processes=2)
        assert ended.codes == [0, 0], ended.said
        assert "note: 1 processes before, 2 now; the run ends about as it would have, not bit for bit" in ended.said[0]
