"""Collect real, freely licensed sounds from Debian packages for benchmarks/real_recordings.py.

    python benchmarks/collect_sounds.py sounds                  # fetches 3.6 GB of packages
    python benchmarks/collect_sounds.py sounds --without flightgear-data-base redeclipse-data

Needs ``apt-get`` and ``dpkg-deb``, that is Debian (made with release 12); nothing is installed. Makes

- ``sounds/animals/``: recordings of animals, one FLAC a sound;
- ``sounds/animal_free/<category>/``: recordings without animals, one FLAC a package and group, in which
  short sounds follow each other, faded over 20 ms at both ends, each once;
- ``sounds/sources.tsv``: for every stretch of every FLAC the package, version and file that it is from.

All is mono at 48 kHz, at the level of its source. What is taken, and under which licence, is in RECIPES and
docs/test_sounds.md. The sounds are for testing only and are no part of this project.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import struct
import subprocess
import sys
import tarfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

SAMPLE_RATE = 48_000
FADE = SAMPLE_RATE // 50
LEAST_SECONDS = 0.05
AUDIO = re.compile(r"\.(wav|ogg|oga|opus|mp3|flac)$", re.IGNORECASE)
LIVING = re.compile(
    r"bird|chick|duck|owl|crow|gull|rooster|penguin|dog|bark|cat\.|cow|horse|frog|crick|cicad|cycad|bee|wasp"
    r"|farm|forest|jungle|nature|garden|tropic|swamp|animal|hog|pig|yeti|monster",
    re.IGNORECASE,
)
"""Names never taken as free of animals, so that none slips in by a broad pattern."""

PAUSE_FRAME = SAMPLE_RATE // 20
PAUSE_LEVELS = (-85.0, -50.0)
"""dBFS between which 50 ms of speech are a pause: quieter is digital silence, not a microphone."""

LEAST_PAUSE_FRAMES = 6


@dataclass(frozen=True)
class Recipe:
    """Which files of a package make up one category.

    Attributes
    ----------
    category : str
        Folder below ``animal_free``, or ``animals``.
    package : str
        Debian package.
    include : str
        Regular expression that a file's path must match; its first group, if any, names a recording.
    exclude : str
        Regular expression that it must not match, beside ``LIVING``.
    piece_seconds, group_seconds : float
        Most seconds of one file (from its middle) and of one recording.
    pauses : bool
        Take the pauses of the file only.
    living : bool
        Whether ``LIVING`` holds.
    """

    category: str
    package: str
    include: str
    exclude: str = r"(?!)"
    piece_seconds: float = 60.0
    group_seconds: float = 900.0
    pauses: bool = False
    living: bool = True


GCOMPRIS, TUXPAINT, REDECLIPSE = "gcompris-qt-data", "tuxpaint-stamps-default", "redeclipse-data"
SPOKEN = r"stamps/(?!animals).*_desc(?:_([a-z]+))?(?:_[A-Za-z]+)?\.ogg$"

RECIPES = (
    # Music.
    Recipe("music", GCOMPRIS, r"explore_world_music/.*\.ogg$"),
    Recipe("music", GCOMPRIS, r"(instruments)/resource/.*\.ogg$"),
    Recipe("music", TUXPAINT, r"hobbies/music/[a-z]+/[a-z_]+\.ogg$", r"_desc"),
    Recipe("music", "asterisk-moh-opsound-wav", r"/moh/.*\.wav$"),
    Recipe("music", "extremetuxracer-data", r"/music/.*\.ogg$"),
    Recipe("music", "hedgewars-data", r"/Music/.*\.ogg$", r"Rain|Beach|Olympic"),
    Recipe("music", "hyperrogue-music", r"/music/.*\.ogg$"),
    Recipe("music", "singularity-music", r"/music/.*\.ogg$"),
    Recipe("music", "supertux-data", r"/music/(?!forest).*\.ogg$"),
    Recipe("music", "warzone2100-music", r"/music/.*\.opus$"),
    Recipe("music", "searchandrescue-data", r"/music/.*\.wav$"),
    Recipe("music", REDECLIPSE, r"/music/.*\.ogg$"),
    # Speech.
    Recipe("speech", TUXPAINT, SPOKEN, piece_seconds=5, group_seconds=75),
    *(
        Recipe("speech", f"asterisk-core-sounds-{language}-wav", r"/sounds/.*\.wav$", r"silence", 10, 300)
        for language in ("en", "fr", "ru")
    ),
    Recipe("speech", "pocketsphinx-testdata", r"/(?:cards|librivox)/.*\.wav$"),
    Recipe("speech", "codec2-examples", r"/wav/.*\.wav$", r"noise|sine|_out"),
    # Machines and traffic.
    Recipe("machines", GCOMPRIS, r"helicopter|/car\.wav|sounds/train|LRFactory|LRTrain|LRStart"),
    Recipe(
        "machines",
        TUXPAINT,
        r"stamps/(?:household|vehicles|hobbies)/.*/?(?:vacuum_cleaner|kettle|Washing-machine|toilet|firetruck"
        r"|saw|hammer|mallet_metal|camera_35mm|scissors_small_open)\.ogg$",
    ),
    Recipe(
        "machines",
        "lincity-ng-data",
        r"sounds/(?:Industry|CoalMine|OreMine|RailTrain|Mill|Power|Trafic|WindMill|Blacksmith|Raze|Recycle"
        r"|Rocket|Substation|Build|MonumentConstruction|DirtTrack|FireStation).*\.wav$",
    ),
    Recipe("machines", "searchandrescue-data", r"/sounds/.*(?:engine|gear|flap|stall|skid|brake).*\.wav$"),
    Recipe(
        "machines",
        "simutrans-pak64",
        r"/(?:bus|buzzsaw|comet-jet|diesel|jackhammer|planelow|steam|truck|boat-horn|crossing|dock)\.wav$",
    ),
    Recipe("machines", "torcs-data", r"/sound/.*\.wav$"),
    Recipe("machines", "endless-sky-data", r"/ambient/.*\.mp3$", piece_seconds=600),
    Recipe("machines", REDECLIPSE, r"/ambience/.*(?:machine|hum|distant_cars|pneumatic|electro).*\.ogg$"),
    Recipe(
        "machines",
        "flightgear-data-base",
        r"/Sounds/(?!mk-viii|tcas)[^/]*(?:prop|engine|engstart|R-1535|avionics|exhaust|fan|helicopter|jet|p51d|rotor"
        r"|rumble|starter|turb|whine|rattle|blade|gear|squeal|radionoise)[^/]*\.wav$",
        r"horn",
    ),
    # Water.
    Recipe("water", GCOMPRIS, r"/water_fill\.wav|sounds/water\.wav|clickgame/.*(?:bubble|drip)\.wav"),
    Recipe("water", "minetest-data", r"env_sounds_water|water_footstep"),
    Recipe("water", "supertux-data", r"/sounds/(?:waterfall|splash)\.\w+$"),
    Recipe("water", "caveexpress-data", r"/sounds/(?:tile-(?:waterfall|geyser)|water-|.*-swimming).*\.ogg$"),
    Recipe("water", REDECLIPSE, r"/ambience/(?:waterfall.*|river|water|cavedrip)\.ogg$"),
    # Wind, rain and thunder.
    Recipe("weather", TUXPAINT, r"lightningbolt\.ogg$"),
    Recipe("weather", "supertux-data", r"/sounds/(?:rain|thunder|lightning)\.wav$"),
    Recipe("weather", "simutrans-pak64", r"/arctic\.wav$"),
    Recipe("weather", "searchandrescue-data", r"thunder_faint\.wav$"),
    Recipe("weather", "flightgear-data-base", r"/Sounds/(?:rain.*|wind.*|thunder.*)\.wav$"),
    Recipe("weather", REDECLIPSE, r"/ambience/.*(?:wind\d?|rain|stormbolts)\.ogg$", r"alien|dizzy"),
    # Steps, doors, tools, fire, things that fall.
    Recipe("impacts", "minetest-data", r"/(?:default|doors|fire|tnt|xpanes|carts)/.*\.ogg$", "water"),
    Recipe(
        "impacts",
        GCOMPRIS,
        r"canal_lock/.*(?:door|lock)|LRObject|LRHits|LRDoor|LRFireballs|metal_hit|icy_walk|/money\d\.wav"
        r"|card_flip|pickaxe|brush\.wav|slide\.wav|knock\.wav",
    ),
    Recipe("impacts", "lincity-ng-data", r"sounds/(?:Fire\d|FireWasteland|Tip|Pottery|Window).*\.wav$"),
    Recipe("impacts", REDECLIPSE, r"/player/(?:\w+step|land)\d?\.ogg$|/ambience/(?:fire|door)\.ogg$"),
    # People who do not speak into a microphone.
    Recipe(
        "people",
        "lincity-ng-data",
        r"sounds/(?:MarketFull|MarketMed|MarketLow|SportsCroud|School|University|Shanty|Health).*\.wav$",
    ),
    Recipe("people", GCOMPRIS, r"LRApplauses|LRHeart"),
    # What phones and computers play.
    Recipe("signals", "oxygen-sounds", r"\.ogg$"),
    Recipe("signals", "sound-theme-freedesktop", r"\.oga$", r"audio-channel|test"),
    Recipe("signals", "yaru-theme-sound", r"\.oga$"),
    Recipe("signals", "deepin-sound-theme", r"\.wav$"),
    Recipe("signals", "lomiri-sounds", r"\.ogg$"),
    # A microphone in a quiet room: the pauses between spoken words.
    Recipe("near_silence", TUXPAINT, SPOKEN, pauses=True, group_seconds=90),
    # Animals.
    Recipe("animals", TUXPAINT, r"stamps/animals/.*\.ogg$", r"_desc|cartoon|toys|fish", living=False),
    Recipe("animals", GCOMPRIS, r"explore_farm_animals/.*\.ogg$|LRFrogs|LRBark", living=False),
    Recipe("animals", "simutrans-pak64", r"/(?:seagulls|forest|tropic|horse)\.wav$", living=False),
    Recipe("animals", "lincity-ng-data", r"/(?:Farm|Green|OrganicFarm|Parkland).*\.wav$", living=False),
    Recipe("animals", REDECLIPSE, r"/ambience/(?:cycadas|nightcrickets|forest\d)\.ogg$", living=False),
)  # fmt: skip


def download(package: str, folder: Path) -> Path:
    """Return a package's file, fetched by ``apt-get download`` unless the folder has it."""
    found = sorted(folder.glob(f"{package}_*.deb"))
    if not found:
        print(f"fetching {package}", file=sys.stderr)
        subprocess.run(["apt-get", "download", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        found = sorted(folder.glob(f"{package}_*.deb"))
    return found[-1]


def files_of(package: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the sound files of a Debian package, those inside Qt resource files included."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for member in archive:
                if not member.isfile() or not (AUDIO.search(member.name) or member.name.endswith(".rcc")):
                    continue
                content = archive.extractfile(member)
                assert content is not None
                if member.name.endswith(".rcc"):
                    yield from qt_resources(content.read())
                else:
                    yield member.name, content.read()


def qt_resources(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the sound files of a Qt resource file (binary ``.rcc``, written by Qt's rcc).

    A header of five words (magic, version, offsets of tree, data and names) leads to a tree of nodes, whose
    first is the root: name, flags, and for a folder the number and first of its children, for a file the
    place of its data, zlib-compressed if the first flag says so.
    """
    magic, version, tree, data, names = struct.unpack(">4sIIII", content[:20])
    if magic != b"qres":
        return
    size = 14 if version < 2 else 22
    nodes = [(0, "")]
    while nodes:
        number, folder = nodes.pop()
        node = content[tree + number * size :]
        name_at, flags = struct.unpack(">IH", node[:6])
        letters = struct.unpack(">H", content[names + name_at :][:2])[0] if number else 0
        name = content[names + name_at + 6 :][: 2 * letters].decode("utf-16-be")
        if flags & 2:
            count, first = struct.unpack(">II", node[6:14])
            nodes += [(child, f"{folder}{name}/") for child in range(first, first + count)]
        elif AUDIO.search(name):
            at = data + struct.unpack(">I", node[10:14])[0]
            length = struct.unpack(">I", content[at : at + 4])[0]
            packed = content[at + 4 : at + 4 + length]
            yield folder + name, zlib.decompress(packed[4:]) if flags & 1 else packed


def decoded(content: bytes, seconds: float) -> np.ndarray | None:
    """Return at most so many seconds from a sound file's middle, mono at ``SAMPLE_RATE``.

    None if it cannot be read or is too short.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            wanted = min(file.frames, round(seconds * file.samplerate))
            file.seek((file.frames - wanted) // 2)
            samples = file.read(wanted, dtype="float32", always_2d=True)
            mono = soxr.resample(samples.mean(axis=1), file.samplerate, SAMPLE_RATE)
    except soundfile.LibsndfileError:
        return None
    return mono if len(mono) >= LEAST_SECONDS * SAMPLE_RATE else None


def pauses(samples: np.ndarray) -> list[np.ndarray]:
    """Return the stretches of at least 0.3 s in which a recording holds only its room."""
    frames = samples[: len(samples) // PAUSE_FRAME * PAUSE_FRAME].reshape(-1, PAUSE_FRAME)
    levels = 20 * np.log10(np.sqrt((frames**2).mean(axis=1)) + 1e-9)
    quiet = np.concatenate([[False], (levels > PAUSE_LEVELS[0]) & (levels < PAUSE_LEVELS[1]), [False]])
    edges = np.flatnonzero(np.diff(quiet.astype(int))).reshape(-1, 2)
    return [samples[a * PAUSE_FRAME : b * PAUSE_FRAME] for a, b in edges if b - a >= LEAST_PAUSE_FRAMES]


def faded(samples: np.ndarray) -> np.ndarray:
    """Return a sound with its first and last 20 ms faded."""
    samples = samples.copy()
    ramp = np.linspace(0.0, 1.0, min(FADE, len(samples) // 2), dtype=np.float32)
    samples[: len(ramp)] *= ramp
    samples[len(samples) - len(ramp) :] *= ramp[::-1]
    return samples


def recordings_of(recipe: Recipe, files: list[tuple[str, bytes]]) -> dict[str, list[tuple[str, np.ndarray]]]:
    """Return the pieces of a recipe's recordings by the recording's name, each with its source's path."""
    groups: dict[str, list[tuple[str, np.ndarray]]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    seen: set[int] = set()
    # In an order that does not follow the folders, so that a limit takes from all of them.
    for path, content in sorted(files, key=lambda file: zlib.crc32(file[0].encode())):
        match = re.search(recipe.include, path)
        unwanted = re.search(recipe.exclude, path) or (recipe.living and LIVING.search(path.split("/")[-1]))
        if not match or unwanted or zlib.crc32(content) in seen:
            continue
        group = (match.groups() or ("",))[0] or ""
        if recipe.category == "animals":
            group = "-".join(path.rsplit(".", 1)[0].split("/")[-2:])
        if seconds[group] >= recipe.group_seconds:
            continue
        samples = decoded(content, recipe.piece_seconds)
        if samples is None:
            continue
        seen.add(zlib.crc32(content))
        for piece in pauses(samples) if recipe.pauses else [samples]:
            groups[group].append((path, piece if recipe.category == "animals" else faded(piece)))
            seconds[group] += len(piece) / SAMPLE_RATE
    return groups


def main() -> None:
    """Fetch the packages and write the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the sounds go")
    parser.add_argument("--packages", type=Path, help="where packages are kept (default: FOLDER/packages)")
    parser.add_argument("--without", nargs="*", default=[], metavar="PACKAGE", help="packages to leave out")
    options = parser.parse_args()
    packages = options.packages or options.folder / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    by_package: dict[str, list[Recipe]] = defaultdict(list)
    for recipe in RECIPES:
        if recipe.package not in options.without:
            by_package[recipe.package].append(recipe)
    rows: list[tuple[str, str, str, str, str, str]] = []
    for package, recipes in by_package.items():
        archive = download(package, packages)
        version = archive.name.split("_")[1].replace("%3a", ":")
        files = list(files_of(archive))
        print(f"{package} {version}: {len(files)} sound files", file=sys.stderr)
        for recipe in recipes:
            below = Path("" if recipe.category == "animals" else "animal_free") / recipe.category
            for group, pieces in recordings_of(recipe, files).items():
                if not pieces:
                    continue
                (options.folder / below).mkdir(parents=True, exist_ok=True)
                name = below / f"{package}{'-' if group else ''}{group}.flac"
                at = 0
                for path, piece in pieces:
                    start, end = at / SAMPLE_RATE, (at + len(piece)) / SAMPLE_RATE
                    rows.append((str(name), f"{start:.3f}", f"{end:.3f}", package, version, path))
                    at += len(piece)
                joined = np.concatenate([piece for _, piece in pieces])
                soundfile.write(options.folder / name, np.clip(joined, -1.0, 1.0), SAMPLE_RATE, "PCM_16")
    with (options.folder / "sources.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(("recording", "start_seconds", "end_seconds", "package", "version", "path"))
        writer.writerows(sorted(rows, key=lambda row: (row[0], float(row[1]))))


if __name__ == "__main__":
    main()
