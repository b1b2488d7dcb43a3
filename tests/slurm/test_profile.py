"""Cluster profiles: where they are looked for, what is wrong with them, which resources win."""

from __future__ import annotations

from pathlib import Path

import pytest

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.slurm.profile import (
    SHIPPED,
    STAGES,
    ClusterProfile,
    load_profile,
    own_folder,
    profile_names,
)
from actstore.slurm.resources import Resources


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of one's own profiles."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "actstore" / "clusters"
    folder.mkdir(parents=True)
    return folder


def test_every_shipped_profile_can_be_loaded(own: Path) -> None:
    assert profile_names() == ["conda", "generic", "modules", "uv"]
    for name in profile_names():
        profile = load_profile(name)
        assert profile.name == name
        assert profile.description
        assert set(profile.stages) == set(STAGES)
        assert profile.resources("extract").gpus >= 1
        assert all(profile.resources(s).gpus == 0 for s in STAGES if s != "extract")


def test_a_profile_of_ones_own_goes_before_a_shipped_one(own: Path) -> None:
    (own / "generic.yaml").write_text("description: mine\n")
    (own / "group.yaml").write_text("default: {account: def-me}\n")
    assert load_profile("generic").description == "mine"
    assert load_profile("group").default.account == "def-me"
    assert profile_names() == ["conda", "generic", "group", "modules", "uv"]


def test_profiles_are_below_the_home_where_xdg_says_nothing() -> None:
    assert own_folder({}) == Path("~/.config/actstore/clusters").expanduser()
    assert own_folder({"XDG_CONFIG_HOME": "/x"}) == Path("/x/actstore/clusters")


def test_a_path_names_a_profile_too(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text('default: {time: "90"}\n')
    assert load_profile(str(path)).name == "lab"


def test_an_unknown_profile_is_an_error_with_the_nearest(own: Path) -> None:
    with pytest.raises(UnknownNameError, match=rf"Did you mean 'generic'.*{own}/NAME.yaml"):
        load_profile("genric")


def test_a_file_that_is_not_there_or_no_yaml_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"Cannot read the cluster profile .*none.yaml"):
        load_profile(str(tmp_path / "none.yaml"))
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [")
    with pytest.raises(InvalidInputError, match="Cannot read the cluster profile"):
        load_profile(str(bad))
    bad.write_text("- a\n")
    with pytest.raises(InvalidInputError, match="holds no fields. Begin from one of"):
        load_profile(str(bad))


def test_everything_wrong_with_a_profile_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(
        "default: {partitoin: gpu, time: 24:00:00}\n"
        'stages: {extract: {gpus_per_node: "4"}}\n'
        "setpu: [a]\n"
        "dask: {interfaces: ib0}\n"
    )
    with pytest.raises(InvalidInputError) as raised:
        load_profile(str(path))
    told = str(raised.value)
    assert "default.time: 86400 is a number" in told
    assert "no field 'default.partitoin'. Did you mean 'partition'" in told
    assert "stages.extract.gpus_per_node: Input should be a valid integer, but found '4'" in told
    assert "no field 'setpu'. Did you mean 'setup'" in told
    assert "no field 'dask.interfaces'. Did you mean 'interface'" in told
    assert "docs/cluster-profiles.md" in told


def test_a_stage_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("stages: {extrac: {nodes: 2}}\n")
    with pytest.raises(UnknownNameError, match="no stage 'extrac'. Did you mean 'extract'"):
        load_profile(str(path))


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET", "DB_PASSWORD", "API_KEY_2"]
)
def test_secrets_are_refused_and_never_repeated(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} looks like a secret.*hf auth login") as raised:
        ClusterProfile(name="lab", environment={name: "abcdef"})
    assert "abcdef" not in str(raised.value)


@pytest.mark.parametrize("line", ["export HF_TOKEN=x", "WANDB_API_KEY='x' run", "a; my_key=x"])
def test_a_line_of_setup_sets_no_secret(line: str) -> None:
    with pytest.raises(ValueError, match="A line sets .*, which looks like a secret"):
        ClusterProfile(name="lab", setup=(line,))


def test_a_secret_in_a_file_is_refused_without_being_shown(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("environment: {HF_TOKEN: hf_abcdef}\nsetup: [export MY_KEY=hf_ghijkl]\n")
    with pytest.raises(InvalidInputError, match="looks like a secret") as raised:
        load_profile(str(path))
    assert "hf_abcdef" not in str(raised.value)
    assert "hf_ghijkl" not in str(raised.value)


def test_names_that_only_sound_like_secrets_are_allowed() -> None:
    environment = {"TOKENIZERS_PARALLELISM": "false", "MAX_TOKENS": "2", "HF_TOKEN_PATH": "/x"}
    assert ClusterProfile(name="lab", environment=environment).environment == environment
    ClusterProfile(name="lab", setup=('export HF_TOKEN="$(cat ~/.hf)"', "sort --key=2 x"))


@pytest.mark.parametrize("scratch", ["scratch", "$(id)", "/a`b`", '/a"b', "/a\nb"])
def test_a_scratch_folder_is_a_path_and_no_command(scratch: str) -> None:
    with pytest.raises(ValueError, match="not a folder|line break"):
        ClusterProfile(name="lab", scratch=scratch)


def test_a_line_of_setup_is_one_line() -> None:
    with pytest.raises(ValueError, match="line break"):
        ClusterProfile(name="lab", setup=("a\nb",))


def test_resources_of_the_experiment_go_before_the_stages_before_the_default() -> None:
    profile = ClusterProfile(
        name="lab",
        default=Resources(account="me", time="60", memory="1G"),
        stages={"eval": Resources(time="120", memory="2G")},
    )
    assert profile.resources("eval", Resources(memory="3G")) == Resources(
        account="me", time="120", memory="3G"
    )
    assert profile.resources("report") == profile.default


def test_the_guide_tells_every_field() -> None:
    guide = (SHIPPED.parents[2] / "docs" / "cluster-profiles.md").read_text()
    for model in (ClusterProfile, Resources, type(ClusterProfile(name="x").dask)):
        for field in model.model_fields:
            assert f"`{field}`" in guide, field
