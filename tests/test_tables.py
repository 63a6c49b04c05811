"""The table job on made-up tables: what columns are, learning both kinds of target, files of all sorts."""

import gzip
import json
import re
import shlex

import numpy as np
import pytest

from rushlight.cli import main

pl = pytest.importorskip("polars", reason="needs the data extra")

from rushlight.jobs import table_metrics as metrics
from rushlight.jobs.table_columns import describe_columns, part_of
from rushlight.jobs.table_features import Encoder
from rushlight.jobs.table_model import LinearModel, Network
from rushlight.jobs.table_report import answers, worst_answers
from rushlight.jobs.tables import Outcome, Settings, class_weights, divide, read_task, spread_out

ROWS = 240
QUICK = ["--epochs", "6", "--batch-size", "32", "--hidden", "16", "--lr", "0.02"]
# for tests of everything but the learning: one step, which is not worth compiling
SMALL = ["--epochs", "1", "--batch-size", "1000", "--drop", "name,moved", "--no-report"]


def people(seed: int = 0, rows: int = ROWS) -> "pl.DataFrame":
    """Who stays: women, and men with a doctor's title; age says nothing, the rent follows the rooms."""
    draw = np.random.default_rng(seed)
    woman, doctor = draw.random(rows) < 0.5, draw.random(rows) < 0.3
    rooms = draw.integers(1, 6, rows)
    age = draw.normal(40, 12, rows).round(1)
    return pl.DataFrame(
        {
            "id": np.arange(rows) + 1000,
            "name": [f"{'Dr' if d else 'Herr'} {draw.integers(10**9)} von {n}" for n, d in enumerate(doctor)],
            "sex": np.where(woman, "f", "m"),
            "age": [None if draw.random() < 0.2 else float(a) for a in age],
            "city": draw.choice(["Ulm", "Bonn", "Kiel"], rows),
            "rooms": rooms,
            "moved": [f"2024-{1 + n % 12:02}-{1 + n % 28:02}" for n in range(rows)],
            "empty": [None] * rows,
            "same": ["x"] * rows,
            "rent": (rooms * 300 + draw.normal(0, 30, rows)).round(2),
            "stays": np.where((woman | doctor) ^ (draw.random(rows) < 0.05), "yes", "no"),
        }
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people().write_csv("people.csv")
    return tmp_path


def train(*more):
    return main(["train", "people.csv", "--out", "run", *QUICK, *more])


def values_of(text, metric):
    """The metric's value by model, from a printed table."""
    lines = text.splitlines()
    head = next(number for number, line in enumerate(lines) if metric in line and "  " in line)
    start = lines[head].index(metric)
    found = {}
    for line in lines[head + 1 : head + 4]:
        if "(" in line:
            found[line[:14].strip()] = float(line[start:].split()[0])
    return found


# -- what columns are ----------------------------------------------------------------------------------------


def test_kinds_of_columns():
    found = {column.name: column for column in describe_columns(people(), people().columns)}
    kinds = {name: column.kind for name, column in found.items()}
    assert kinds == {
        "id": "left out",
        "name": "text",
        "sex": "category",
        "age": "number",
        "city": "category",
        "rooms": "number",
        "moved": "date",
        "empty": "left out",
        "same": "left out",
        "rent": "number",
        "stays": "category",
    }
    assert found["rooms"].parts == ["number", "value"]
    assert found["moved"].parts == ["days", "month", "weekday"]
    assert {"has:dr", "has:herr"} <= set(found["name"].parts)
    assert "missing" in found["age"].remark and "nothing but missing" in found["empty"].remark


def test_text_in_a_number_column_is_missing_and_told():
    frame = pl.DataFrame({"size": [str(n) for n in range(99)] + ["big"]})
    (column,) = describe_columns(frame, ["size"])
    assert column.kind == "number" and "'big'" in column.remark
    assert part_of(frame, "size", "number").null_count() == 1


def test_ids_and_free_text_are_left_out_with_a_word():
    draw = np.random.default_rng(0)
    frame = pl.DataFrame({"key": ["".join(draw.choice(list("abcdefgh"), 9)) for _ in range(60)]})
    (column,) = describe_columns(frame, ["key"])
    assert column.kind == "left out" and "free text or ids" in column.remark


def test_shared_codes_count_training_rows_only():
    tickets = ["A1", "A1", "B2", "B2", "B2", *(f"C{n}" for n in range(10, 20))]
    frame = pl.DataFrame({"ticket": tickets})
    (column,) = describe_columns(frame, ["ticket"])
    assert "shared" in column.parts
    encoder = Encoder.fit(frame, [column])
    shared = next(number for number in encoder.numbers if number.part == "shared")
    assert shared.counts == {"A1": 2, "B2": 3}
    new = pl.DataFrame({"ticket": ["B2", "B2", "Z9"]})
    first, second, stranger = shared.encode(new)[0]
    assert first == second > stranger


def test_gaps_become_the_median_with_an_indicator_and_the_mode_without_one():
    frame = pl.DataFrame({"x": [1.5, 2.0, None, 4.5], "c": ["a", "b", "a", "a"]})
    encoder = Encoder.fit(frame, describe_columns(frame, frame.columns))
    inputs = encoder.encode(pl.DataFrame({"x": [None, 2.0], "c": [None, "new"]}))
    assert inputs.numbers[0].tolist() == [inputs.numbers[1, 0], 1.0] and inputs.numbers[1, 1] == 0
    assert encoder.categories[0].levels == ["a", "b"] and inputs.codes.tolist() == [[1], [0]]


def test_encoding_is_the_same_for_whole_numbers_read_as_fractions_and_survives_json():
    frame = pl.DataFrame({"class": [1, 2, 3] * 10})
    encoder = Encoder.fit(frame, describe_columns(frame, ["class"]))
    again = Encoder.from_json(json.loads(json.dumps(encoder.to_json())))
    expected = encoder.encode(frame)
    for other in (frame, frame.cast(pl.Float64), frame.cast(pl.String)):
        found = again.encode(other)
        assert np.array_equal(found.numbers, expected.numbers) and np.array_equal(found.codes, expected.codes)


# -- models, metrics, dividing -------------------------------------------------------------------------------


def test_a_category_not_trained_on_adds_nothing_to_the_linear_model():
    import rushlight as torch

    model = LinearModel(1, [3, 2], 2)
    with torch.no_grad():
        model.levels.weight[1:3] = 5.0
    numbers = torch.ones(2, 1)
    plain = model(numbers, torch.tensor([[0, 0], [0, 0]]))
    assert torch.equal(
        model(numbers, torch.tensor([[1, 0], [0, 0]])) - plain, torch.tensor([[5.0] * 2, [0.0] * 2])
    )


@pytest.mark.parametrize("categories", ["onehot", "embedding", "auto"])
def test_categories_as_one_hot_or_learnt_vectors(categories):
    model = Network(2, [4, 50], 3, [8], categories=categories)
    learnt = [table.weight.requires_grad for table in model.tables]
    assert learnt == {"onehot": [False, False], "embedding": [True, True], "auto": [False, True]}[categories]
    assert all((table.weight[0] == 0).all() for table in model.tables)


def test_metrics_agree_with_their_definitions():
    truth = np.array([0, 1, 1, 0, 1])
    chances = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.4, 0.6], [0.1, 0.9]])
    pairs = [
        1.0 if chances[p, 1] > chances[n, 1] else 0.0
        for p in np.flatnonzero(truth == 1)
        for n in np.flatnonzero(truth == 0)
    ]
    assert metrics.auc(truth, chances) == pytest.approx(np.mean(pairs))
    assert metrics.accuracy(truth, chances) == 0.6
    assert metrics.balanced_accuracy(truth, chances) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert metrics.log_loss(truth, chances) == pytest.approx(-np.log([0.8, 0.7, 0.4, 0.4, 0.9]).mean())
    assert metrics.r2(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])) == 0.0
    assert np.isnan(metrics.auc(np.zeros(3, int), np.full((3, 2), 0.5)))


def test_intervals_cover_the_truth_about_as_often_as_they_say(monkeypatch):
    monkeypatch.setattr(metrics, "RESAMPLINGS", 150)
    draw = np.random.default_rng(0)
    covered = 0
    for _ in range(40):
        truth = (draw.random(150) < 0.5).astype(int)
        right = draw.random(150) < 0.8
        guess = np.where(right, truth, 1 - truth)
        found = metrics.interval(metrics.accuracy, truth, np.eye(2)[guess])
        covered += found.low <= 0.8 <= found.high
    assert 34 <= covered <= 40


def test_parts_have_like_shares_of_the_target():
    labels = np.array([0] * 90 + [1] * 10)
    train, test = divide(labels, ["a", "b"], 0.2)
    assert len(test) == 20 and labels[test].sum() == 2 and not set(train) & set(test)
    numbers = np.random.default_rng(0).normal(size=500)
    order = spread_out(numbers, [])
    assert sorted(order) == list(range(500))
    assert all(abs(numbers[part].mean()) < 0.25 for part in np.split(order, 5))


def test_rare_classes_get_weight():
    labels = np.array([0] * 90 + [1] * 10)

    def weights(how):
        return class_weights(labels, ["a", "b"], Settings("x", "y", class_weights=how))

    assert weights("none") is None
    balanced, some = weights("balanced"), weights("auto")
    assert balanced[1] / balanced[0] == pytest.approx(9) and some[1] / some[0] == pytest.approx(3)
    assert (balanced[labels]).mean() == pytest.approx(1)
    assert class_weights(labels[50:95], ["a", "b"], Settings("x", "y")) is not None
    assert class_weights(np.array([0, 1, 1]), ["a", "b"], Settings("x", "y")) is None


# -- from the command line -----------------------------------------------------------------------------------


def test_classes_are_learnt_tested_and_predicted(folder, capsys):
    assert train("--target", "stays") == 0
    out = capsys.readouterr().out
    accuracy = values_of(out, "accuracy")
    assert accuracy["no columns"] < 75 < 85 < max(accuracy["linear model"], accuracy["network"])
    worth = out[out.index("what columns are worth") :].splitlines()
    assert {worth[1].split()[0], worth[2].split()[0]} == {"name", "sex"}
    assert main(["evaluate", "run"]) == 0
    assert values_of(capsys.readouterr().out, "accuracy")["network"] == accuracy["network"]
    people(seed=5).drop("same", "rent", "stays").write_parquet("new.parquet")
    assert main(["predict", "run", "new.parquet", "--out", "found.csv"]) == 2
    assert "no column 'rent'" in capsys.readouterr().err
    people(seed=5).drop("same", "stays").write_parquet("new.parquet")
    assert main(["predict", "run", "new.parquet", "--out", "found.csv"]) == 0
    found = pl.read_csv("found.csv")
    assert (found["predicted_stays"] == people(seed=5)["stays"]).mean() > 0.8
    assert np.allclose(found["probability_no"] + found["probability_yes"], 1)
    assert main(["evaluate", "run", "people.csv"]) == 0


@pytest.mark.parametrize("more", [[], ["--folds", "2"]])
def test_the_worth_of_very_many_columns_is_not_measured(folder, capsys, monkeypatch, more):
    monkeypatch.setattr("rushlight.jobs.tables.IMPORTANCE_COLUMNS", 2)
    assert train("--target", "stays", *SMALL, *more) == 0
    assert "what columns are worth was not measured: there are too many" in capsys.readouterr().out


def test_the_command_in_the_report_repeats_the_run(folder, capsys):
    from rushlight.jobs.command import command_line

    assert train("--target", "stays", "--drop", "name,moved,age") == 0
    first = capsys.readouterr().out
    report = (folder / "run" / "report.html").read_text()
    for heading in ("Test", "Answers", "Worst answers", "Worth of columns"):
        assert f"<h2>{heading}</h2>" in report
    assert "people.csv: stays" in report and "Colour shows only mistakes" in report
    settings = Settings(**json.loads((folder / "run" / "config.json").read_text())["settings"])
    assert main([*shlex.split(command_line(settings))[1:], "--out", "again", "--no-report"]) == 0
    again = capsys.readouterr().out
    assert values_of(again, "log loss") == values_of(first, "log loss")


@pytest.mark.parametrize("target", ["stays", "rent"])
def test_the_worst_answers_are_shown_with_their_rows(folder, target):
    task = read_task(Settings("people.csv", target, drop=["name"]))
    rows = np.array([7, 100, 31])
    truth = task.target[rows]
    if task.classes:
        prediction = np.full((3, 2), 0.5)
        prediction[1, truth[1]], prediction[1, 1 - truth[1]] = 0.125, 0.875
        said = [task.classes[truth[1]], "12.5%", task.classes[1 - truth[1]]]
    else:
        prediction = truth + [1.0, -500.0, 2.0]
        said = [f"{truth[1]:.5g}", f"{truth[1] - 500:.5g}", "-500"]
    outcome = Outcome(rows, truth, {"network": prediction}, "network", {})
    shown = re.search(r"<tbody><tr>(.*?)</tr>", worst_answers(task, outcome, target))
    cells = re.findall(r"<td[^>]*>(.*?)</td>", shown[1])
    assert cells[:3] == said
    assert cells[3:5] == ["1,100", people()["sex"][100]]  # the row's id and a value
    assert answers(task, outcome, target)[0].startswith("<figure><img")


def test_a_learning_rate_is_found(folder, capsys):
    assert main(["find-lr", "people.csv", "--target", "stays", "--steps", "30"]) == 0
    assert "--lr" in capsys.readouterr().out


def test_a_number_is_learnt_in_folds(folder, capsys):
    assert train("--target", "rent", "--folds", "3", "--drop", "name,moved") == 0
    out = capsys.readouterr().out
    r2 = values_of(out, "R²")
    assert r2["no columns"] < 0.05 and max(r2["linear model"], r2["network"]) > 0.85
    assert "mean RMSE of the folds" in out and "fold 3 of 3" in out
    assert main(["evaluate", "run"]) == 2
    assert "learnt from all rows" in capsys.readouterr().err
    assert main(["predict", "run", "people.csv"]) == 0
    found = pl.read_csv("predictions.csv")
    assert np.corrcoef(found["predicted_rent"], found["rent"])[0, 1] > 0.9


def test_new_categories_and_bad_numbers_at_prediction(folder, capsys):
    assert train("--target", "stays", *SMALL) == 0
    people(seed=1, rows=20).with_columns(
        pl.lit("Atlantis").alias("city"), pl.lit("old").alias("age")
    ).write_csv("new.csv")
    capsys.readouterr()
    assert main(["predict", "run", "new.csv"]) == 0
    out = capsys.readouterr().out
    assert "20 values of 'age' are no numbers" in out and "20 rows have a 'city' that was rare" in out
    assert pl.read_csv("predictions.csv")["probability"].is_between(0, 1).all()


@pytest.mark.parametrize("suffix", ["csv.gz", "tsv", "parquet"])
def test_every_form_of_file_gives_the_same_task(folder, suffix):
    frame = pl.read_csv("people.csv")
    path = folder / f"other.{suffix}"
    if suffix == "parquet":
        frame.write_parquet(path)
    else:
        text = frame.write_csv(separator="\t" if suffix == "tsv" else ",").encode()
        path.write_bytes(gzip.compress(text) if suffix == "csv.gz" else text)
    expected, found = (read_task(Settings(str(each), "stays")) for each in ("people.csv", path))
    assert found.columns == expected.columns and np.array_equal(found.target, expected.target)


def test_an_unfinished_run_is_resumed_and_a_finished_one_is_not(folder, capsys):
    assert train("--target", "rent", *SMALL) == 0
    capsys.readouterr()
    assert main(["train", "people.csv", "--target", "rent", "--resume", "run", "--no-report"]) == 2
    assert "is finished" in capsys.readouterr().err
    config = json.loads((folder / "run" / "config.json").read_text())
    (folder / "run" / "config.json").write_text(json.dumps({**config, "finished": False}))
    assert main(["predict", "run", "people.csv"]) == 2
    assert "was not finished" in capsys.readouterr().err


BROKEN = {
    "constant target": ("a,y\n" + "1,no\n2,no\n" * 9, "y is no in every row"),
    "missing target": ("a,y\n" + "1,\n2,\n" * 9, "y is missing in every row"),
    "no column left": ("a,y\n" + "x,1\nx,0\n" * 9, "is left to learn y from (a: the same in every row)"),
    "few rows": ("a,y\n1,0\n2,1\n3,0\n", "too few"),
    "one column": ("y\n1\n0\n", "only one column"),
    "empty": ("", "is empty"),
    "too many classes": ("a,y\n" + "".join(f"{n},name {n}\n" for n in range(200)), "too many for classes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_end_in_one_sentence(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    text, sentence = BROKEN[name]
    (tmp_path / "bad.csv").write_text(text)
    assert main(["train", "bad.csv", "--target", "y"]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_words_in_a_target_that_should_be_a_number_are_named(folder, capsys):
    text = (folder / "people.csv").read_text().replace(",yes", ",12").replace(",no", ",soon", 1)
    (folder / "people.csv").write_text(text)
    assert train("--target", "stays", "--task", "regression") == 2
    assert "is not a number" in capsys.readouterr().err
    few = text.replace(",no", ",7")
    (folder / "people.csv").write_text(few)
    assert train("--target", "stays") == 2
    row = next(number for number, line in enumerate(few.splitlines()) if line.endswith("soon"))
    assert (
        f"'soon' in row {row} is not a number. If it is the name of a class, say --task classification"
        in (capsys.readouterr().err)
    )
    assert train("--target", "stays", "--task", "classification", *SMALL) == 0
    assert "stays is 3 classes (7, 12, soon)" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["inf", "-inf", "1e400", "1e300"])
def test_an_infinite_target_is_missing(folder, capsys, value):
    text = (folder / "people.csv").read_text().replace(",yes", ",1").replace(",no", ",0")
    (folder / "people.csv").write_text(text.replace(",1\n", f",{value}\n", 1))
    assert train("--target", "stays", *SMALL) == 0
    said = capsys.readouterr().out
    assert "left out: 1 row without stays" in said
    assert value == "1e300" or "stays is 2 classes (0, 1)" in said


def test_settings_that_make_no_sense_are_named(folder, capsys):
    for option, value in {
        "--folds": "1",
        "--dropout": "1",
        "--test": "0",
        "--drop": "nme",
        "--target": "ren",
    }.items():
        assert train("--target", "rent", option, value) == 2
        error = capsys.readouterr().err
        assert option in error or "did you mean" in error
