"""The experiment file: every key there is, what it means, and what may stand there.

`docs/experiment.md` and `docs/experiment.schema.json` are generated from these classes. Options are
called as those of the commands, and what is left out is as there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from actstore.addresses import beside
from actstore.experiment import forms
from actstore.refs import model_name
from actstore.slurm.resources import Resources

Stage = Literal["collect", "extract", "eval", "metrics", "report"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""In the order in which they run."""
Pooling = Literal[
    "mean",
    "mean_normed",
    "last",
    "last_normed",
    "first",
    "first_normed",
    "weighted_mean",
    "weighted_mean_normed",
    "max",
    "max_normed",
]

Names = Annotated[
    tuple[str, ...], BeforeValidator(forms.listed, json_schema_input_type=list[str] | str)
]
Poolings = Annotated[
    tuple[Pooling, ...],
    BeforeValidator(forms.listed, json_schema_input_type=list[Pooling] | str),
    Field(min_length=1),
]
Stages = Annotated[
    tuple[Stage, ...],
    BeforeValidator(forms.listed, json_schema_input_type=list[Stage] | str),
    Field(min_length=1),
]
Checkpoints = Annotated[Names, AfterValidator(forms.checkpoints)]
Layers = Annotated[
    str,
    BeforeValidator(forms.written_layers, json_schema_input_type=str | int | list[int | str]),
    AfterValidator(forms.layers),
]

Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Several = Annotated[int, Field(ge=2)]
Word = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """What holds for every section: nothing changes, no key is unknown, no kind is converted."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True
    )


class ModelSection(Section):
    """One of several models."""

    model: str
    """Hub name, or a folder, which begins with `./`, `../`, `~` or `/`."""
    checkpoints: Checkpoints | None = None
    """Instead of the experiment's `checkpoints`."""
    layers: Layers | None = None
    """Instead of the experiment's `layers`."""


class TextsSection(Section):
    """Texts of a file, instead of a suite."""

    file: str
    """`.txt` (a text a line), `.jsonl`, `.csv` or `.parquet`."""
    column: str = "text"
    """The field that holds the text."""


class TokensSection(Section):
    """The token sample: texts of which every token's states are stored too."""

    texts: Annotated[str, BeforeValidator(forms.token_texts, json_schema_input_type=str | int)]
    """`200` (of all), `20/task`, `all`, or a file of texts."""
    name: Word = "sample"
    """What the store calls it."""
    seed: int = 0
    """Chooses the texts."""


class ViewsSection(Section):
    """Views of texts: the same texts mistyped, for metrics such as InfoNCE, DiME and LiDAR."""

    texts: Several = 1000
    """How many of the experiment's texts; all if there are fewer."""
    views: Several = 16
    """Views of each text."""
    task: str | None = None
    """Only of this task's texts."""
    name: Word = "default"
    """What the store calls them."""
    seed: int = 0
    """Chooses the texts and what changes in them."""


class ExtractSection(Section):
    """How states are computed and stored: the options of `actstore extract`."""

    max_tokens: Count | None = None
    """Longer texts are cut here; the model's longest input if left out."""
    dtype: Literal["float16", "float32", "auto"] = "float16"
    """Of the stored states."""
    precision: Literal["exact", "compact", "small"] = "exact"
    """How states are stored: `exact`; `compact`, rounded to 7 bits of fraction and compressed; or
    `small`, 8 bits a value. See docs/precision.md."""
    compute_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto`: the weights' own on an accelerator, float32 on a CPU."""
    devices: Annotated[str, AfterValidator(forms.devices)] = "auto"
    """`auto`, `all`, `cuda:0,1`, `cpu`, `cpu:2` (two processes): a worker each."""
    device_map: str | None = None
    """Spread one model over all devices: `auto`, `balanced`."""
    threads: Count | None = None
    """CPU threads of a worker; the cores shared among them if left out."""
    batch_tokens: Count = 16384
    """Tokens of a batch, padding included."""
    attn: str | None = None
    """transformers' attention: `sdpa`, `eager`, `flash_attention_2`; its own choice if left out."""
    packed: bool | None = None
    """Run texts one behind the other, without padding; where attention is made for it if left
    out."""
    compile: bool = False
    """Use torch.compile."""
    tf32: bool = False
    """Let float32 products round to TF32."""
    token_metrics: bool = False
    """Also store every text's prompt entropy and curvature."""
    lens_head: bool = True
    """Also store the lens head."""
    trust_remote_code: bool = False
    """Run the model's own code."""
    pickled_weights: bool = False
    """Read pytorch_model.bin, which can run code."""
    same_weights: bool = False
    """Go on though checkpoints hold equal weights."""
    prune_cache: bool = False
    """Delete finished checkpoints from the hub cache."""


class EvaluateSection(Section):
    """What the stage `eval` scores: the options of `actstore eval`."""

    poolings: Poolings = ("mean_normed",)
    """What is scored; `mean_normed` is what the Layer by Layer paper scores."""
    transforms: Annotated[Names, AfterValidator(forms.transforms), Field(min_length=1)] = ("none",)
    """Done to states before scoring, each is scored: `none`, or steps as `center+l2`."""
    layers: Layers | None = None
    """The experiment's if left out."""
    workers: Count = 1
    """Processes."""
    dask: str | None = None
    """`local`, `slurm`, or the address of a Dask scheduler: its workers score."""
    threads: Count = 1
    """Of a process. Scores of other numbers of threads differ."""
    upstream_code: bool = False
    """Run mteb's own code throughout: the same scores, slower."""


class MetricsSection(Section):
    """What the stage `metrics` computes: the options of `actstore metrics` and `fit-lens`."""

    metrics: Annotated[Names, AfterValidator(forms.metrics)] = ()
    """Names, see `actstore metrics --list`; most that the stored data allow if left out."""
    poolings: Poolings = ("mean",)
    """What metrics of pooled states are computed from."""
    layers: Layers | None = None
    """The experiment's if left out."""
    tasks: Names = ()
    """Over the texts of each of these tasks; over all texts if left out."""
    sample: Count | None = None
    """Over so many of the texts, drawn by `seed`."""
    seed: int = 0
    """Draws the texts of `sample` and of all pairs."""
    against: Annotated[Names, AfterValidator(forms.references), Field(min_length=1)] = (
        "previous_layer",
    )
    """What layers are compared with: `previous_layer`, `last_layer`, `layer:N`,
    `previous_checkpoint`, `last_checkpoint`, `checkpoint:NAME`."""
    lenses: Annotated[Names, Field(min_length=1)] = ("final",)
    """How layers are read: `final`, `next_block`, `raw`, or a fitted lens."""
    fit_lenses: Annotated[Names, AfterValidator(forms.fitted_lenses)] = ()
    """Fitted first, to the token sample: `mean_shift`, `procrustes`, `affine`, `tuned`."""
    intervals: NotNegative = 0
    """Intervals for metrics that are no means too, by leaving out 1 of so many groups of texts."""
    workers: Count = 1
    """Processes."""
    dask: str | None = None
    """`local`, `slurm`, or the address of a Dask scheduler: its workers compute."""


class ReportSection(Section):
    """The page that the stage `report` draws."""

    out: str | None = None
    """The page to write; if left out `<name>.html` beside the store, or, where that is no folder,
    beside the experiment file."""


class TrackingSection(Section):
    """Where counts of what is done are sent, after each stage; off unless asked for."""

    tensorboard: str | None = None
    """A folder for TensorBoard, which gets one inside it for each run."""
    wandb: str | None = None
    """A project of Weights & Biases; who one is there stands in the environment."""


class ClusterSection(Section):
    """What `actstore slurm submit` asks SLURM for."""

    profile: str | None = None
    """A cluster profile: one of `~/.config/actstore/clusters`, one that is shipped, or a file."""
    stages: dict[Stage, Resources] = {}
    """By stage, instead of what the profile asks for; see docs/cluster-profiles.md."""


class Experiment(Section):
    """A whole experiment: models, checkpoints, texts, what is stored, scored and measured."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")
    """Names jobs, folders and the report: letters, digits, `.`, `_` and `-`."""
    description: str = ""
    """A line for people."""
    store: Word
    """The store's path, or its URL (`s3://bucket/pythia.zarr`). It is made if it is not there."""
    model: str | None = None
    """Hub name, or a folder, which begins with `./`, `../`, `~` or `/`. Either this or `models`."""
    models: Annotated[
        tuple[ModelSection, ...],
        BeforeValidator(forms.items, json_schema_input_type=list[ModelSection]),
    ] = ()
    """Several models, each with checkpoints and layers of its own if need be."""
    checkpoints: Checkpoints = ("main",)
    """Names, `step1*000`, `step1000:step143000:1000`, `last:50`, `pythia-all`, `pythia-log`."""
    layers: Layers = "all"
    """`all`, `0,3,6`, `15-23`, `"-4:"`; 0 is the embedding output, i the raw output of block i."""
    suite: str | None = None
    """A suite (see `actstore suites`), a suite file (.yaml) or an mteb benchmark. One of `suite`,
    `tasks` and `texts` says which texts the models read."""
    tasks: Names = ()
    """Tasks of mteb instead of a suite: `[STS12, "STS17[en-en]"]`."""
    texts: TextsSection | None = None
    """Texts of a file instead of a suite; nothing is scored then."""
    poolings: Poolings = ("mean", "mean_normed")
    """What is stored: mean, last, first, weighted_mean, max; each `_normed`."""
    tokens: TokensSection | None = None
    """Also store every token's states of some texts: token metrics and lenses need them."""
    views: ViewsSection | None = None
    """Also make views of texts, and extract them."""
    extract: Annotated[ExtractSection, BeforeValidator(forms.section)] = ExtractSection()
    """How states are computed and stored."""
    evaluate: Annotated[EvaluateSection, BeforeValidator(forms.section)] = EvaluateSection()
    """What is scored."""
    metrics: Annotated[MetricsSection, BeforeValidator(forms.section)] = MetricsSection()
    """What is measured."""
    report: Annotated[ReportSection, BeforeValidator(forms.section)] = ReportSection()
    """The page that is drawn."""
    tracking: Annotated[TrackingSection, BeforeValidator(forms.section)] = TrackingSection()
    """Where counts of what is done are sent."""
    stages: Stages = STAGES
    """Which stages run, always in this order; without `eval` where there are `texts`."""
    cluster: Annotated[ClusterSection, BeforeValidator(forms.section)] = ClusterSection()
    """What is asked of SLURM; of no matter elsewhere."""

    @model_validator(mode="before")
    @classmethod
    def _texts_are_not_scored(cls, given: object) -> object:
        """Texts of a file have no tasks: without `stages` of their own, none is scored."""
        if isinstance(given, Mapping) and given.get("texts") and given.get("stages") is None:
            return {**given, "stages": [stage for stage in STAGES if stage != "eval"]}
        return given

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        problems = [*clashes(dict(self)), *self._not_extracted(), *self._twice()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def ordered_stages(self) -> tuple[Stage, ...]:
        """The stages to run, in the order in which they run."""
        return tuple(stage for stage in STAGES if stage in self.stages)

    @property
    def each_model(self) -> tuple[ModelSection, ...]:
        """The models, every one with its checkpoints and layers."""
        listed = self.models or (ModelSection(model=self.model or ""),)
        return tuple(
            ModelSection(
                model=one.model,
                checkpoints=one.checkpoints or self.checkpoints,
                layers=one.layers or self.layers,
            )
            for one in listed
        )

    @property
    def suite_or_tasks(self) -> str | None:
        """As `--suite` takes it: the suite, or the tasks separated by commas; None for texts."""
        return self.suite or ",".join(self.tasks) or None

    @property
    def report_path(self) -> Path:
        """The page to write: beside the store, or in the working folder if that is no folder."""
        beside_store = beside(self.store, "").with_name(f"{self.name}.html")
        return Path(self.report.out or beside_store)

    def _not_extracted(self) -> Iterator[str]:
        """Poolings that are read and were not stored, which a GPU would have to run again for."""
        if "extract" not in self.stages:
            return
        for section, stage in (("evaluate", "eval"), ("metrics", "metrics")):
            asked = getattr(self, section).poolings
            missing = [one for one in asked if one not in self.poolings]
            if stage in self.stages and missing:
                yield (
                    f"{section}.poolings: {', '.join(missing)} is not among the poolings that are "
                    f"stored, {', '.join(self.poolings)}. Add it to `poolings`"
                )

    def _twice(self) -> Iterator[str]:
        names = [model_name(one.model) for one in self.models]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"models: {name} is there twice. List all its checkpoints in one"


def clashes(given: Mapping[str, object]) -> Iterator[str]:
    """What is said twice, or not at all, among the keys of an experiment."""
    for keys, what in ((("model", "models"), "model"), (("suite", "tasks", "texts"), "text")):
        there = [key for key in keys if given.get(key)]
        if len(there) > 1:
            yield f"{' and '.join(there)}: each says which {what}s to use. Keep one"
        if not there:
            yield f"{keys[0]} is missing. Give one of: {', '.join(keys)}"
    if "eval" in _stages(given) and given.get("texts"):
        yield "stages: eval needs a suite or tasks, and texts of a file have none. Leave eval out"
    if _fits(given) and not given.get("tokens"):
        yield "metrics.fit_lenses: lenses are fitted to a token sample. Add `tokens: {texts: 500}`"


def _stages(given: Mapping[str, object]) -> tuple[object, ...]:
    stages = forms.listed(given.get("stages"))
    return stages if isinstance(stages, tuple) else ()


def _fits(given: Mapping[str, object]) -> bool:
    metrics = given.get("metrics")
    if isinstance(metrics, MetricsSection):
        return bool(metrics.fit_lenses)
    return isinstance(metrics, Mapping) and bool(metrics.get("fit_lenses"))
