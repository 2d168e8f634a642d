from pathlib import Path

import pytest
import yaml

from skinapp.errors import DataError
from train import config

CONFIGS = Path(config.__file__).parent / "configs"
PUBLISHED = [*sorted(CONFIGS.glob("*.yaml")), CONFIGS / "studies" / "left-out.yaml"]
SETTINGS = yaml.safe_load((CONFIGS / "ham10000-efficientnetv2b0.yaml").read_text())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_every_published_configuration_is_valid(path: Path) -> None:
    assert config.load_config(path).id == path.stem


def test_overrides_come_last(file: Path) -> None:
    loaded = config.load_config(file, ("seed=7", "dropout=0", "title=a = b"))
    assert (loaded.seed, loaded.dropout, loaded.title) == (7, 0.0, "a = b")
    stages = config.load_config(file, ("stages=[{image_size: 32, epochs: 1, learning_rate: 1}]",)).stages
    assert stages == (config.Stage(32, 1, 1.0),)


def test_the_models_size_is_its_own_or_that_of_the_last_stage(file: Path) -> None:
    assert config.load_config(file, ("input_size=50",)).image_size == 50
    assert config.load_config(file, ("input_size=null",)).image_size == SETTINGS["stages"][-1]["image_size"]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("colour=red", "no setting 'colour'; choose one of id, title"),
        ("stages=[{image_size: 32, epochs: 1, learning_rate: 0.1, speed: 1}]", "no setting 'stages: speed'"),
        ("stages=[{image_size: 32, epochs: 1}]", "Missing settings: stages: learning_rate"),
        ("stages=[]", "'stages' is empty"),
        ("stages=3", "'stages' is missing or is not a list"),
        ("stages=[3]", "stages: 3 is not a set of settings"),
        (
            "stages=[{image_size: 32.5, epochs: 1, learning_rate: 0.1}]",
            r"'stages: image_size' is 32\.5; it must be int",
        ),
        ("stages=[{image_size: 0, epochs: 1, learning_rate: 0.1}]", "'stages: image_size' is 0; it must be above 0"),
        ("stages=[{image_size: 32, epochs: 0, learning_rate: 0.1}]", "'stages: epochs' is 0; it must be above 0"),
        ("stages=[{image_size: 32, epochs: 1, learning_rate: -1}]", r"'stages: learning_rate' is -1\.0; it must be"),
        (
            "stages=[{image_size: 32, epochs: 2, learning_rate: 0.1, warmup_epochs: 2}]",
            "warmup_epochs",
        ),
        ("seed=many", "'seed' is 'many'; it must be int"),
        ("seed=true", "'seed' is True; it must be int"),
        ("dropout=high", "'dropout' is 'high'; it must be float"),
        ("dropout=1", r"'dropout' is 1\.0; it must be at least 0"),
        ("label_smoothing=-0.1", r"'label_smoothing' is -0\.1; it must be at least"),
        ("batch_size=0", "'batch_size' is 0; it must be above 0"),
        ("samples_per_epoch=1", "samples_per_epoch"),
        ("weight_decay=.nan", "weight_decay"),
        ("input_size=0", "'input_size' is 0; it must be above 0"),
        ("input_size=large", "'input_size' is 'large'; it must be int"),
        ("fold=8", "'fold' is 8 and 'folds' is 8"),
        ("folds=1", "'folds' must be at least 2"),
        ("loss=hinge", "'loss' is 'hinge'; it must be one of cross-entropy"),
        ("loss=logit-adjusted", r"'logit_adjustment' is 0\.5, but .*; set logit_adjustment=0"),
        (
            "stages=[{image_size: 32, epochs: 1, learning_rate: 0.1, mixup: -0.1}]",
            r"'stages: mixup' is -0\.1; it must not be below 0",
        ),
        (
            "stages=[{image_size: 32, epochs: 1, learning_rate: 0.1, frozen_blocks: half}]",
            "'stages: frozen_blocks' is 'half'; it must be int",
        ),
        ("mixup=0.2", "no setting 'mixup'"),
        ("shares={ham10000: 0.5, elsewhere: 0.5}", "'shares' has elsewhere, which 'dataset' does not; it has ham10000"),
        ("shares={}", "'shares' gives no share to ham10000; leave it out of 'dataset', or add it"),
        ("shares={ham10000: 0.9}", r"'shares' add up to 0\.9; they must add up to 1"),
        ("shares={ham10000: 0}", "'shares: ham10000' is 0; it must be a number above 0"),
        ("shares={ham10000: most}", "'shares: ham10000' is 'most'; it must be a number above 0"),
        ("shares=0.5", r"'shares' is 0\.5; it must be"),
        ("reference=milk10k", "'reference' is 'milk10k'; it must be one of ham10000"),
        ("committee=5", "'committee' is 5; it must be bool"),
        ("dataset=imagenet", "no data set 'imagenet'; use one of ham10000"),
        ("architecture=vgg", "'architecture' is 'vgg'; it must be one of efficientnetb1"),
        ("remove=[hair, freckles]", "'remove' is 'freckles'; it must be one of hair, ruler"),
        ("remove=hair", "'remove' is 'hair'; it must be a list"),
        ("sampling=odd", "'sampling' is 'odd'; it must be one of natural"),
        ("labels=birds", "no label set 'birds'"),
        ("seed", "'seed' is not of the form key=value"),
        ("seed=[1", "seed"),
    ],
)
def test_impossible_settings_are_named(file: Path, override: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        config.load_config(file, (override,))


def test_the_reference_cannot_be_left_out(file: Path) -> None:
    with pytest.raises(DataError, match="'without' leaves out 'ham10000', which is the 'reference'"):
        config.load_config(file, ("reference=ham10000", "without=ham10000"))


def test_a_missing_setting_is_named(file: Path) -> None:
    file.write_text(yaml.safe_dump({key: value for key, value in SETTINGS.items() if key != "title"}))
    with pytest.raises(DataError, match="Missing settings: title"):
        config.load_config(file)


@pytest.mark.parametrize(("text", "sentence"), [("a: [", "is not valid YAML"), ("", "holds no settings")])
def test_a_file_that_is_not_a_configuration(file: Path, text: str, sentence: str) -> None:
    file.write_text(text)
    with pytest.raises(DataError, match=sentence):
        config.load_config(file)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no configuration file"):
        config.load_config(tmp_path / "none.yaml")


def test_the_fingerprint_follows_what_changes_the_weights(file: Path) -> None:
    plain = config.load_config(file)
    assert config.load_config(file).fingerprint == plain.fingerprint
    assert config.load_config(file, ("title=another",)).fingerprint == plain.fingerprint
    assert config.load_config(file, ("seed=99",)).fingerprint != plain.fingerprint
    assert config.load_config(file, ("shares={ham10000: 1}",)).fingerprint != plain.fingerprint
    assert config.load_config(file, ("reference=ham10000",)).fingerprint != plain.fingerprint
    for change in (
        "remove=[hair, ruler]",
        "without=ham10000",
        "hold_out_all=true",
        "colour_constancy=true",
        "metadata=true",
    ):
        assert config.load_config(file, (change,)).fingerprint != plain.fingerprint
    assert config.load_config(file, ("committee=true",)).fingerprint == plain.fingerprint
    # settings that only apply after training do not change the run
    assert config.load_config(file, ("input_size=50", "logit_adjustment=0.3")).fingerprint == plain.fingerprint
