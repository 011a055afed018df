"""The whole cohort on disk: studies, phenotypes, ground truth.

What belongs here: the order of work, the tables, the record of what was made. What does not: how anything is made.
"""

import csv
import io
import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from heart_assets.files import write_text
from heart_assets.phantom.damage import STRAY_FILES, damage_manifest, damage_series, damage_zip
from heart_assets.phantom.defects import SOUND, Defect, plan_defects
from heart_assets.phantom.liver import liver_study, liver_t1_ms
from heart_assets.phantom.people import Person, draw_people
from heart_assets.phantom.studies import heart_study
from heart_assets.phantom.traits import DIFFICULTIES, NAMES, TRAITS, Difficulty, expected_oracle_r2, oracle_age, r_squared
from heart_assets.phantom.zips import manifest_lines, write_zip

VISIT = 2
VERSION = 1  # raise it when the same parameters give other bytes
NOTES = {
    "demo": "Easy on purpose: a few strong traits carry nearly all of age, so that 160 people suffice to learn it. No measure of a method.",
    "benchmark": "No trait correlates above 0.5 with age; most of the information is in motion and timing.",
}


def generate_cohort(
    out: Path,
    participants: int,
    seed: int,
    difficulty: Difficulty,
    defect_rate: float = 0.05,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a synthetic cohort in UK Biobank's layout.

    Writes `heart/<delivery>/{eid}_20208_2_0.zip`, `liver/<delivery>/{eid}_20204_2_0.zip` (delivery: the first two digits of
    the id), `phenotypes.csv` (UK Biobank's column names), `ground_truth.csv` (exact age, traits, the oracle's age) and
    `cohort.json` (parameters, the oracle's R2, the defects planted). The bytes depend on participants, seed, difficulty and
    defect_rate alone, not on workers. A folder that already holds just this cohort is left as it is; one that was interrupted
    is written again.

    Args:
        out: folder; made if missing.
        participants: 1 to 30,000.
        seed: of everything random.
        difficulty: "demo" (few strong traits, learnable from 160 people) or "benchmark".
        defect_rate: share of heart studies with one planted defect.
        workers: processes.
        progress: called with (studies written, all).

    Raises:
        ValueError: a parameter out of its range, or a folder with something else in it.
    """
    if difficulty not in DIFFICULTIES:
        raise ValueError(f"difficulty is one of {', '.join(DIFFICULTIES)}, not {difficulty!r}")
    people = draw_people(participants, seed, difficulty)
    plan = plan_defects(participants, defect_rate, seed)
    parameters = {"version": VERSION, "participants": participants, "seed": seed, "difficulty": difficulty, "defect_rate": defect_rate}
    if _is_there(out, parameters):
        if progress is not None:
            progress(participants, participants)
        return
    record = _write_tables(out, people, difficulty, parameters, plan)
    _write_studies(out, people, difficulty, plan, workers, progress)
    _write_record(out, record | {"complete": True})


def _is_there(out: Path, parameters: dict) -> bool:
    """Whether the folder holds this cohort, whole. Raises ValueError if it holds anything else."""
    try:
        record = json.loads((out / "cohort.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        if out.is_dir() and any(out.iterdir()):
            raise ValueError(f"{out} is not empty, and holds no cohort: choose another folder") from None
        return False
    except ValueError:
        raise ValueError(f"{out / 'cohort.json'} cannot be read: remove the folder, or choose another") from None
    other = [name for name, value in parameters.items() if record.get(name) != value]
    if other:
        raise ValueError(f"{out} holds a cohort with another {', '.join(other)}: remove it, or choose another folder")
    archives = sum(1 for _ in out.glob("*/*/*.zip"))
    return bool(record.get("complete")) and archives == 2 * parameters["participants"]


def _write_studies(
    out: Path,
    people: Sequence[Person],
    difficulty: Difficulty,
    plan: dict[int, Defect],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    participants = len(people)
    work = partial(_write_person, out, difficulty)
    defects = [plan.get(place, SOUND) for place in range(participants)]
    if workers == 1:
        _report(map(work, people, defects), participants, progress)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        _report(pool.map(work, people, defects, chunksize=4), participants, progress)


def _report(done, total: int, progress: Callable[[int, int], None] | None) -> None:
    for number, _ in enumerate(done, start=1):
        if progress is not None:
            progress(number, total)


def _write_person(out: Path, difficulty: Difficulty, person: Person, defect: Defect) -> None:
    rng = np.random.default_rng([person.seed, 20208])
    comma_dates = bool(rng.random() < 0.15) or defect.kind == "manifest_comma_dates"
    manifest_name = "manifest.cvs" if rng.random() < 0.3 else "manifest.csv"
    series = damage_series(heart_study(person, difficulty, defect, rng), defect, rng)
    manifest = damage_manifest(manifest_lines(series, comma_dates), defect, rng)
    path = out / "heart" / person.delivery / f"{person.eid}_20208_{VISIT}_0.zip"
    others = ({} if manifest is None else {manifest_name: manifest.encode()}) | (STRAY_FILES if defect.kind == "stray_files" else {})
    write_zip(path, series, others, rng)
    damage_zip(path, defect)
    liver = liver_study(person)
    path = out / "liver" / person.delivery / f"{person.eid}_20204_{VISIT}_0.zip"
    write_zip(path, liver, {"manifest.csv": ("\n".join(manifest_lines(liver)) + "\n").encode()}, rng)


def _write_tables(out: Path, people: Sequence[Person], difficulty: Difficulty, parameters: dict, plan: dict[int, Defect]) -> dict:
    """Write ground truth and phenotypes; return what cohort.json says of them."""
    scores, male = np.stack([person.scores for person in people]), np.array([person.male for person in people])
    ages = np.array([person.age for person in people])
    static = np.array([trait.static for trait in TRAITS])
    oracle = oracle_age(scores, male, difficulty)
    truth: list[list] = [["participant_id", "visit", "age", "sex", *NAMES, "liver_t1_ms", "oracle_age"]]
    truth += [
        [p.eid, VISIT, f"{p.age:.6f}", "FM"[p.male], *(f"{p.traits[name]:.6g}" for name in NAMES), f"{liver_t1_ms(p):.2f}", f"{best:.4f}"]
        for p, best in zip(people, oracle, strict=True)
    ]
    record = parameters | {
        "complete": False,
        "note": NOTES[difficulty],
        "oracle_r2": r_squared(ages, oracle) if len(people) > 1 else None,
        "oracle_r2_static_traits": r_squared(ages, oracle_age(scores, male, difficulty, static)) if len(people) > 1 else None,
        "oracle_r2_expected": expected_oracle_r2(difficulty),
        "oracle_r2_static_traits_expected": expected_oracle_r2(difficulty, static_only=True),
        "defects": [
            {"study_id": f"{people[k].eid}_{VISIT}_0", "defect": plan[k].kind, "view": plan[k].view, "views": plan[k].outcome()}
            for k in sorted(plan)
        ],
    }
    write_text(out / "ground_truth.csv", _csv(truth))
    write_text(out / "phenotypes.csv", _csv(_phenotypes(people)))
    _write_record(out, record)
    return record


def _write_record(out: Path, record: dict) -> None:
    write_text(out / "cohort.json", json.dumps(record, indent=1) + "\n")


def _phenotypes(people: Sequence[Person]) -> list[list]:
    rows: list[list] = [["eid", "31-0.0", "34-0.0", "52-0.0", "53-2.0", "54-2.0", "21003-2.0", "50-2.0", "21002-2.0"]]
    for p in people:
        height = round((176 if p.male else 163) * p.scan.size / (1.10 if p.male else 1.03))
        weight = round(26.5 * p.scan.girth**2 * (height / 100) ** 2, 1)
        rows.append([p.eid, p.male, p.birth_year, p.birth_month, p.visit_date.isoformat(), 11025 + p.seed % 3, int(p.age), height, weight])
    return rows


def _csv(rows: Sequence[Sequence]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
