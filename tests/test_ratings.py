"""The ratings job on made-up tastes: learning them, strangers, files of all sorts, from the command line."""

import contextlib
import gzip
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import rushlight as torch
from rushlight import nn
from rushlight.cli import main
from rushlight.jobs import DotProductBias, Module, create_params, sigmoid_range

pl = pytest.importorskip("polars", reason="needs the data extra")

from rushlight.jobs import ratings as job
from rushlight.jobs.ratings_data import Vocabulary, read_names
from rushlight.jobs.ratings_report import telling_axes
from rushlight.jobs.reading import as_text

USERS, ITEMS = 40, 30


def taste_ratings(seed: int = 0) -> list[tuple[int, int, int]]:
    """Odd users love odd items and hate even ones; even users the other way round. Item 3 is loved by all."""
    draw = np.random.default_rng(seed)
    found = []
    for user in range(1, USERS + 1):
        for item in [3, *(each for each in draw.permutation(ITEMS)[:20] + 1 if each != 3)]:
            loved = item == 3 or (user + item) % 2 == 0
            found.append((user, int(item), int(draw.choice([4, 5] if loved else [1, 2]))))
    return [found[row] for row in draw.permutation(len(found))]


def write_files(tmp_path):
    rows = taste_ratings()
    text = "userId,movieId,rating,timestamp\n" + "".join(
        f"{u},{i},{r},{n}\n" for n, (u, i, r) in enumerate(rows)
    )
    (tmp_path / "ratings.csv").write_text(text)
    (tmp_path / "u.data").write_text("".join(f"{u}\t{i}\t{r}\t{n}\n" for n, (u, i, r) in enumerate(rows)))
    names = "".join(f"{i}|Film {i} é|01-Jan-1995||0|0\n" for i in range(1, ITEMS + 1))
    (tmp_path / "u.item").write_bytes(names.encode("latin-1"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a finished run, and what was printed."""
    place = tmp_path_factory.mktemp("finished")
    write_files(place)
    printed = io.StringIO()
    with contextlib.chdir(place), contextlib.redirect_stdout(printed):
        assert main(["train", "u.data", "--items", "u.item", "--out", "run", *QUICK]) == 0
    return place, printed.getvalue()


@pytest.fixture
def trained(finished, tmp_path, monkeypatch):
    """A copy of the finished run to work in, and what was printed."""
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return finished[1]


QUICK = ["--epochs", "20", "--batch-size", "16", "--n-factors", "4", "--lr", "0.05"]


def table_of_errors(text):
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if "test RMSE" in line)
    return {line[:18].strip(): float(line[18:27]) for line in lines[start + 1 : start + 4]}


def test_the_notebooks_class_runs_as_it_stands():
    class Notebook(Module):
        def __init__(self, n_users, n_movies, n_factors, y_range=(0, 5.5)):
            self.user_factors = create_params([n_users, n_factors])
            self.user_bias = create_params([n_users])
            self.movie_factors = create_params([n_movies, n_factors])
            self.movie_bias = create_params([n_movies])
            self.y_range = y_range

        def forward(self, x):
            users = self.user_factors[x[:, 0]]
            movies = self.movie_factors[x[:, 1]]
            res = (users * movies).sum(dim=1)
            res += self.user_bias[x[:, 0]] + self.movie_bias[x[:, 1]]
            return sigmoid_range(res, *self.y_range)

    torch.manual_seed(0)
    written = Notebook(5, 7, 3)
    torch.manual_seed(0)
    ours = DotProductBias(5, 7, 3)
    assert list(written.state_dict()) == list(ours.state_dict())
    pairs = torch.tensor([[0, 6], [4, 0]])
    assert torch.equal(written(pairs), ours(pairs))
    ours(pairs).sum().backward()
    assert all(each.grad is not None for each in ours.parameters())
    assert isinstance(ours, nn.Module)


def test_a_module_may_still_call_super_init():
    class Careful(Module):
        def __init__(self):
            super().__init__()
            self.weight = create_params([2])

    assert len(list(Careful().parameters())) == 1


def test_predictions_stay_within_the_range():
    model = DotProductBias(2, 2, 1, y_range=(1, 5))
    with torch.no_grad():
        model.user_bias[:] = torch.tensor([50.0, -50.0])
    assert model(torch.tensor([[0, 0], [1, 1]])).tolist() == [5.0, 1.0]


def test_training_beats_both_baselines_and_knows_the_tastes(trained, capsys):
    errors = table_of_errors(trained)
    assert errors["DotProductBias"] < 0.75 < 1.2 < errors["user + item bias"] < 2 > errors["mean rating"]
    assert main(["predict", "run", "--user", "7", "--top", "3"]) == 0
    suggested = [line for line in capsys.readouterr().out.splitlines() if "Film" in line]
    items = [int(line.split("(item ")[1].split(")")[0]) for line in suggested]
    assert len(items) == 3 and all(item % 2 for item in items) and "é" in suggested[0]
    rated = {i for u, i, _ in taste_ratings() if u == 7}
    assert not rated & set(items)


def test_strangers_get_what_everybody_likes(trained, capsys):
    assert main(["predict", "run", "--user", "nobody", "--top", "1"]) == 0
    out = capsys.readouterr().out
    assert "was not trained on" in out and "(item 3)" in out


def test_unknown_users_and_items_in_a_file_are_predicted_by_the_unknown_row(trained, capsys):
    Path("more.csv").write_text("userId,movieId,rating\n1,1,5\n999,3,5\n1,999,2\n999,999,3\n")
    assert main(["evaluate", "run", "more.csv"]) == 0
    out = capsys.readouterr().out
    assert "2 rows with a user" in out and "2 rows with an item" in out and "4 ratings: RMSE" in out
    assert main(["predict", "run", "more.csv", "--out", "found.csv"]) == 0
    found = pl.read_csv("found.csv")
    assert found.columns == ["user", "item", "prediction"] and len(found) == 4
    assert found["prediction"].is_between(0, 5.5).all()
    # the unknown user was trained on a mix of all tastes, so that item 3 stands out for it
    assert found["prediction"][1] > found["prediction"][3] - 0.1


def test_evaluating_repeats_the_test_of_the_training(trained, capsys):
    errors = table_of_errors(trained)
    assert main(["evaluate", "run"]) == 0
    assert table_of_errors(capsys.readouterr().out) == errors
    Path("u.data").write_text("1\t1\t5\t0\n2\t1\t4\t0\n3\t2\t1\t0\n")
    assert main(["evaluate", "run"]) == 2
    assert "has changed since the run" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "tsv", "dat", "parquet"])
def test_every_form_of_file_gives_the_same_split(folder, suffix):
    frame = pl.read_csv("ratings.csv")
    path = folder / f"other.{suffix}"
    if suffix == "parquet":
        frame.write_parquet(path)
    else:
        text = frame.write_csv(separator="\t" if suffix == "tsv" else ",")
        text = text.replace(",", "::") if suffix == "dat" else text
        path.write_bytes(gzip.compress(text.encode()) if suffix == "csv.gz" else text.encode())
    expected = job.read_split(job.Settings("u.data"))
    found = job.read_split(job.Settings(str(path)))
    assert found.users.ids == expected.users.ids
    assert np.array_equal(found.train[0], expected.train[0])
    assert np.array_equal(found.test[1], expected.test[1])


def test_an_interrupted_run_ends_with_the_same_bits(folder, capsys):
    from rushlight.fit import Callback, Interrupted, RunFolder

    class Stop(Callback):
        def on_epoch_end(self, trainer, row):
            if trainer.epoch == 2:
                raise KeyboardInterrupt

    def settings():
        return job.Settings("u.data", n_factors=3, epochs=3, batch_size=64)

    whole = job.prepare(job.read_split(settings()), settings(), RunFolder.create("whole"))
    whole.fit()
    half = job.prepare(job.read_split(settings()), settings(), RunFolder.create("half"))
    half.callbacks.append(Stop())
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        half.fit()
    half.callbacks.clear()
    half.save()
    again = job.prepare(job.read_split(settings()), settings(), RunFolder.open("half"), resume=True)
    again.fit()
    for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("epochs", ["1", "2", "3", "4", "5"])
def test_runs_of_few_steps_end(folder, epochs):
    options = ["--epochs", epochs, "--batch-size", "10000", "--no-report", "--out", f"few-{epochs}"]
    assert main(["train", "ratings.csv", *options]) == 0


def test_the_picture_and_the_words_of_the_report(trained):
    liked = next(line for line in trained.splitlines() if line.startswith("liked by all"))
    assert "Film 3 é" in liked
    assert Path("run/factors.png").read_bytes().startswith(b"\x89PNG")
    report = Path("run/report.html").read_text(encoding="utf-8")
    assert "Half of the predictions lie in a box" in report and "user_factors 41 x" in report
    worst = report[report.index("Worst answers</h2>") :].split("</table>")[0]
    assert worst.count("<tr>") == 11 and re.search(r"<td>Film \d+ é</td>", worst)


def test_telling_axes_do_not_depend_on_how_factors_are_turned():
    draw = np.random.default_rng(0)
    users, items = draw.normal(size=(20, 3)), draw.normal(size=(15, 3)) * [3, 1, 0.2]
    turn, _ = np.linalg.qr(draw.normal(size=(3, 3)))
    plain, turned = telling_axes(users, items, 2), telling_axes(users @ turn, items @ turn, 2)
    assert np.allclose(plain.places, turned.places) and np.allclose(plain.shares, turned.shares)
    assert plain.shares[0] > plain.shares[1] > 0


def test_names_come_from_a_header_or_by_place(tmp_path):
    known = Vocabulary(["7", "9"])
    (tmp_path / "movies.csv").write_text("genre,movieId,title\nfun,9,Nine\nsad,7,Seven\n")
    assert read_names(tmp_path / "movies.csv", "movieId", known) == (["Seven", "Nine"], [])
    (tmp_path / "plain.txt").write_text("7|Seven|x\n8|Eight|y\n")
    names, notes = read_names(tmp_path / "plain.txt", "column_2", known)
    assert names == ["Seven", ""] and "1 items have no name" in notes[0]


def test_ids_are_text_whatever_the_type():
    assert as_text(pl.Series([3, None])).to_list() == ["3", None]
    assert as_text(pl.Series([3.0, None])).to_list() == ["3", None]
    assert as_text(pl.Series([" ann", "bob "])).to_list() == ["ann", "bob"]
    assert as_text(pl.Series([2.0, 1e300, float("inf")])).to_list() == ["2", "1e+300", None]


BROKEN = {
    "constant": ("user,item,rating\n" + "".join(f"{n},{n % 3},4\n" for n in range(9)), "every rating"),
    "words": ("user,item,rating\n1,2,3\n1,3,good\n2,2,4\n", "'good' in row 2 is not a number"),
    "nothing": ("user,item,rating\n1,2,\n,3,4\n2,,4\n", "no row has a user, an item and a rating"),
    "no column": ("who,what,rating\n1,2,3\n2,3,4\n", "which column of ratings.csv holds the users"),
    "one row": ("user,item,rating\n1,2,3\n", "leaves nothing"),
    "empty": ("", "is empty"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_end_in_one_sentence(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    text, sentence = BROKEN[name]
    (tmp_path / "ratings.csv").write_text(text)
    assert main(["train", "ratings.csv"]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_columns_and_settings_that_make_no_sense_are_named(folder, capsys):
    cases = {
        ("--user", "usrId"): "did you mean 'userId'",
        ("--user", "userId", "--item", "userId"): "three different columns",
        ("--n-factors", "0"): "--n-factors",
        ("--y-range", "5,1"): "--y-range",
        ("--test", "1"): "--test",
        ("--items", "missing.csv"): "missing.csv",
    }
    for options, sentence in cases.items():
        assert main(["train", "ratings.csv", *options]) == 2
        assert sentence in capsys.readouterr().err


def test_a_table_of_ratings_is_known_by_its_header(folder, capsys):
    shutil.copy("ratings.csv", "who.csv")
    assert main(["train", "who.csv", "--epochs", "1", "--no-report", "--out", "who"]) == 0
    assert "of 40 users and 30 items" in capsys.readouterr().out


def test_predict_asks_for_a_user_or_a_file(trained, capsys):
    assert main(["predict", "run"]) == 2
    assert main(["predict", "run", "--user", "1", "--top", "0"]) == 2
    Path("run/ids.json").write_text(json.dumps({"users": []}))
    capsys.readouterr()
    assert main(["predict", "run", "--user", "1"]) == 2
    assert "run/ids.json is damaged: 'items' is missing" in capsys.readouterr().err
