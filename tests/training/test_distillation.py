"""Claims about learning from another run: the loss is Hinton's, the teacher stays as it was, and who cannot teach is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.test_resume import assert_same_results, stop_and_resume, train
from torch.distributions import Bernoulli, Categorical, kl_divergence

from rnnlab.commands import train as run
from rnnlab.commands.reproduce import begun_from
from rnnlab.config import ConfigError, Distillation, Failed
from rnnlab.data.base import SequenceDataModule
from rnnlab.evaluation.bundle import load_bundle
from rnnlab.models.base import Network
from rnnlab.settings import TrainSettings
from rnnlab.tracking.store import connect, get_run
from rnnlab.training.distillation import Lesson, of_classes, of_label_sets

SMALL = (
    *("data=text", "data.source=sample", "model=gru", "frontend.embedding_size=10", "trainer.num_threads=1", "tracking.log_model=false"),
    *("trainer.limit_train_batches=6", "tracking.log_every_n_steps=1"),
)


@pytest.fixture(scope="module")
def kept() -> dict[str, Path]:
    """Folders of runs that are trained once."""
    return {}


@pytest.fixture
def teacher(compose: Callable[..., TrainSettings], kept: dict[str, Path]) -> Path:
    if "teacher" not in kept:
        kept["teacher"] = train(compose(*SMALL, "model.recurrence.hidden_size=12", "epochs=3"))
    return kept["teacher"]


def test_divergences_are_those_of_torchs_distributions() -> None:
    torch.manual_seed(2)
    wanted, outputs = torch.randn(5, 3), torch.randn(5, 3)
    right = kl_divergence(Categorical(logits=wanted), Categorical(logits=outputs)).mean()
    torch.testing.assert_close(of_classes(wanted, outputs), right)
    right = kl_divergence(Bernoulli(logits=wanted), Bernoulli(logits=outputs)).sum(-1).mean()
    torch.testing.assert_close(of_label_sets(wanted, outputs), right)
    assert float(of_classes(wanted, wanted)) == pytest.approx(0, abs=1e-7)


def test_a_student_minimises_both_losses_and_its_teacher_is_none_of_its_weights(
    compose: Callable[..., TrainSettings], teacher: Path, root: Path
) -> None:
    settings = compose(*SMALL, "model.recurrence.hidden_size=4", "epochs=1")
    data: SequenceDataModule = settings.data.recipe()(settings.paths, settings.seed)
    data.setup()
    batch = next(iter(data.plain_dataloader("train")))
    torch.manual_seed(1)
    student: Network = settings.model.recipe()(data.make_spec())
    student.eval()
    names, master = [*student.state_dict()], load_bundle(teacher / "artifacts/bundle").model
    outputs, wanted = student.predict(batch), master.predict(batch)
    assert isinstance(outputs, torch.Tensor)
    assert isinstance(wanted, torch.Tensor)
    hard = student.task.loss(outputs, batch)
    soft = kl_divergence(Categorical(logits=wanted / 3), Categorical(logits=outputs / 3)).mean()
    student.lesson = Lesson(master, Distillation(3.0, 0.25))
    torch.testing.assert_close(student.training_loss(batch), 0.25 * hard + 0.75 * 9 * soft)
    assert [*student.state_dict()] == names


def test_a_distilled_run_is_recorded_is_another_job_and_goes_on_exactly(
    compose: Callable[..., TrainSettings], teacher: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (
        *(*SMALL, "model.recurrence.hidden_size=5", "epochs=2", f"distil_from={teacher.name}", "distillation.temperature=4"),
        *("callbacks.ema_decay=0.9", "callbacks.checkpoint.keep_last=true"),
    )
    folder = train(compose(*words))
    client = connect(None, root)
    found = get_run(client, folder.name)
    assert found.data.params["distil_from"] == teacher.name
    assert found.data.params["distillation.temperature"] == "4"
    assert found.info.status == "FINISHED"
    alone = train(compose(*words[:-4], *words[-2:]))  # the same without a teacher
    other = get_run(client, alone.name)
    assert other.data.tags["identity"] != found.data.tags["identity"]
    assert other.data.metrics["test/loss"] != found.data.metrics["test/loss"]
    assert "distillation.temperature" not in other.data.params
    assert_same_results(stop_and_resume(compose, words, 9, root, monkeypatch), folder, root)


def test_a_baseline_with_probabilities_teaches_and_one_without_is_refused(compose: Callable[..., TrainSettings], root: Path) -> None:
    plain = ("data=text", "data.source=sample", "tracking.log_model=false", "model=baseline")
    tfidf, margins = (train(compose(*plain, f"baseline.kind={kind}")) for kind in ("tfidf", "nb_svm"))
    words = (*SMALL, "model.recurrence.hidden_size=4", "epochs=1", "trainer.limit_train_batches=2")
    assert train(compose(*words, f"distil_from={tfidf.name}")).is_dir()
    with pytest.raises(ConfigError, match=r"is baseline.kind=nb_svm, which gives no probabilities to learn"):
        run.train(compose(*words, f"distil_from={margins.name}"))


def test_a_forecast_is_learned_as_if_it_were_the_target(compose: Callable[..., TrainSettings]) -> None:
    words = (
        *("data=series", "data.source=sample", "model=gru", "trainer.num_threads=1", "tracking.log_model=false", "epochs=1"),
        *("trainer.limit_train_batches=3", "model.recurrence.hidden_size=4"),
    )
    master = train(compose(*words))
    assert train(compose(*words, "seed=1", f"distil_from={master.name}")).is_dir()
    settings = compose(*words)
    data: SequenceDataModule = settings.data.recipe()(settings.paths, 0)
    data.setup()
    batch = next(iter(data.plain_dataloader("train")))
    bundle = load_bundle(master / "artifacts/bundle")
    wanted = bundle.model.predict(batch)
    assert isinstance(wanted, torch.Tensor)
    outputs = wanted.detach() + 0.5
    loss = Lesson(bundle.model, Distillation(2.0, 0.0))(torch.tensor(7.0), outputs, batch)
    torch.testing.assert_close(loss, torch.tensor(0.25))


def own_texts(folder: Path, labels: tuple[str, ...]) -> Path:
    rows = [f"{label} word{number} {label},{label}" for number in range(20) for label in labels]
    file = folder / "texts.csv"
    file.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data.source=OWN",), r"answers with \d+ labels \(.*\), and here are 2 \(no, yes\): name a run whose labels are the same"),
        (("data.split_seed=7", "data.split=random"), r"trained on data of another split \(test_hash"),
        (("data.prepare.tokens=char",), r"trained on data of another preparation \(data.prepare\)"),
        (("data.loader.min_frequency=1",), r"reads inputs in another way \(.*\): take its settings of data.prepare and data.loader"),
        (("data=adding", "frontend=direct"), r"answers with class, and here the targets are real"),
        (("model=baseline",), r"is for networks, and model=baseline is fitted once"),
        (("epochs=0", "init_from=TEACHER"), r"epochs=0 is not allowed: .*no teacher"),
        (("resume=TEACHER",), r"resume=.* takes that run's recorded configuration: leave out .*distil_from="),
    ],
)
def test_who_cannot_teach_is_refused(
    compose: Callable[..., TrainSettings], teacher: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    typed = [word.replace("OWN", str(own_texts(tmp_path, ("yes", "no")))).replace("TEACHER", teacher.name) for word in words]
    changed = {word.partition("=")[0] for word in typed} | ({"data.source", "frontend.embedding_size"} if "data=adding" in words else set())
    changed |= {"model.recurrence.hidden_size", "frontend.embedding_size"} if "model=baseline" in words else set()
    plain = [word for word in (*SMALL, "model.recurrence.hidden_size=4", "epochs=1") if word.partition("=")[0] not in changed]
    with pytest.raises((ConfigError, Failed, ValueError), match=message):
        run.train(compose(*plain, *typed, f"distil_from={teacher.name}"))


def test_a_teacher_that_is_gone_or_unfinished_is_refused(compose: Callable[..., TrainSettings], root: Path, teacher: Path) -> None:
    words = (*SMALL, "model.recurrence.hidden_size=4", "epochs=1")
    with pytest.raises(ConfigError, match=r"distil_from=nothing: "):
        run.train(compose(*words, "distil_from=nothing"))
    client = connect(None, root)
    begun = client.create_run(get_run(client, teacher.name).info.experiment_id)
    with pytest.raises(ConfigError, match=r"that run is RUNNING: only a finished run has answers to learn from"):
        run.train(compose(*words, f"distil_from={begun.info.run_id}"))
    client.set_terminated(begun.info.run_id, "FAILED")
    with pytest.raises(ConfigError, match=r"that run is FAILED"):
        run.train(compose(*words, f"distil_from={begun.info.run_id}"))


def test_how_to_learn_without_a_teacher_is_refused(compose: Callable[..., TrainSettings]) -> None:
    with pytest.raises(ConfigError, match=r"distillation.temperature=3 is for runs that learn another's answers: add distil_from=RUN_ID"):
        compose(*SMALL, "distillation.temperature=3")
    for wrong in ("temperature=0", "hard_weight=1", "hard_weight=-0.1"):
        with pytest.raises(ConfigError, match=rf"distillation.{wrong} is not allowed"):
            compose(*SMALL, "distil_from=somebody", f"distillation.{wrong}")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("data=language", "model=gru"), "carries its state from batch to batch"),
        (("data=pronunciation", "model=seq2seq"), "sequences of tokens are not distilled|answer with sequences of tokens"),
    ],
)
def test_networks_whose_answers_are_not_compared_are_refused(
    compose: Callable[..., TrainSettings], words: tuple[str, ...], why: str
) -> None:
    plain = (*words, "data.source=sample", "tracking.log_model=false", "trainer.max_epochs=1", "trainer.limit_train_batches=2")
    limits = ("trainer.limit_val_batches=1", "trainer.limit_test_batches=1")
    master = train(compose(*plain, *limits))
    with pytest.raises(ConfigError, match=why):
        run.train(compose(*plain, *limits, "seed=1", f"distil_from={master.name}"))


def test_a_run_whose_teacher_is_gone_cannot_be_made_again(compose: Callable[..., TrainSettings], root: Path) -> None:
    settings = compose(*SMALL, "model.recurrence.hidden_size=4", "distil_from=nothing")
    with pytest.raises(ValueError, match=r"the run that it learned from \(distil_from=nothing\) is gone: it cannot be made again"):
        begun_from(connect(None, root), settings)
