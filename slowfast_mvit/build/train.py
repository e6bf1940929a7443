"""Training by config: start or resume, then the loop, with validation and checkpoints between epochs."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from slowfast_mvit.batches import ClipBatch, UnreadableVideo
from slowfast_mvit.build.data import has_split, step_plan, train_clips, videos_of, view_protocol
from slowfast_mvit.build.evaluate import evaluate_videos
from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.precision import precision_of
from slowfast_mvit.build.run import RunFolder, classification_of
from slowfast_mvit.config.keys import get_value
from slowfast_mvit.config.load import dump_config, load_config_text
from slowfast_mvit.config.schema import Config, all_keys
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.lists import LabelledList, VideoList
from slowfast_mvit.data.loader import StepPlan, StepSampler, train_loader
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.engine.checkpoint import (
    checkpoint_path,
    list_checkpoints,
    read_newest,
    save_checkpoint,
)
from slowfast_mvit.engine.ema import WeightAverage
from slowfast_mvit.engine.log import JsonLog
from slowfast_mvit.engine.loop import FitPlan, fit
from slowfast_mvit.engine.optimizer import layer_decay_groups, make_optimizer, parameter_groups, restore_optimizer
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.metrics import in_words, metrics_of
from slowfast_mvit.evaluation.predictions import write_json
from slowfast_mvit.ops.schedule import Schedule, make_schedule
from slowfast_mvit.weights.containers import unwrap
from slowfast_mvit.weights.load import load_weights, read_source
from slowfast_mvit.weights.report import log_report

_LOG = logging.getLogger(__name__)

# Settings that make a training what it is; the others may differ between a run and its continuation.
_TRAINING_KEYS = (
    "MODEL.", "MVIT.", "SOLVER.", "AUG.", "MIXUP.", "RNG_SEED", "TRAIN.DATASET", "TRAIN.BATCH_SIZE", "TRAIN.ACCUMULATE_STEPS",
    "DATA.NUM_FRAMES", "DATA.SAMPLING_RATE", "DATA.TARGET_FPS", "DATA.TRAIN_", "DATA.INV_UNIFORM_SAMPLE", "DATA.RANDOM_FLIP",
    "DATA.MEAN", "DATA.STD", "DATA.MULTI_LABEL", "DATA.IN22",
)  # fmt: skip
NO_DECAY_NAMES = ("cls_token", "rel_pos", "pos_embed")


def run_training(config: Config, device: torch.device) -> Path:
    """Train as the config says, and return the last checkpoint.

    Goes on from the newest checkpoint in OUTPUT_DIR with TRAIN.AUTO_RESUME.

    Raises:
        UserError: among others, checkpoints of another run stand in OUTPUT_DIR and TRAIN.AUTO_RESUME is False.
    """
    folder = RunFolder(Path(config.OUTPUT_DIR))
    if not config.TRAIN.AUTO_RESUME and list_checkpoints(folder.checkpoints, config.TASK):
        raise UserError(
            f"{folder.checkpoints} holds another run's checkpoints: set TRAIN.AUTO_RESUME True to go on with it, "
            "or another OUTPUT_DIR"
        )
    torch.manual_seed(config.RNG_SEED)
    model = build_model(config)
    optimizer = _optimizer(config, model)
    precision = precision_of(config, device, training=True)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
    start = _restore(config, folder, model, optimizer, scaler)
    first_epoch = start.first_epoch
    videos = videos_of(config, "train", start.label_names)
    plan = step_plan(config, videos)
    label_names = videos.label_names
    write_json({name: number for number, name in enumerate(label_names)}, folder.labels)
    validation = None
    if has_split(config, "val"):
        validation = videos_of(config, "val", label_names)
    else:
        _LOG.info("%s has no val split: training without validation", config.DATA.PATH_TO_DATA_DIR)
    model.to(device)
    _move_state(optimizer, device)
    average = _average(config, model, start)
    _announce(config, model, videos, plan, precision, device, first_epoch)
    if first_epoch < config.SOLVER.MAX_EPOCH:
        folder.config.write_text(dump_config(config), encoding="utf-8")
    dataset = train_clips(config, videos)
    sampler = StepSampler(
        plan, seed=config.RNG_SEED, first_epoch=first_epoch, first_step=0, num_epochs=config.SOLVER.MAX_EPOCH
    )
    loader = train_loader(
        dataset,
        sampler,
        num_workers=config.DATA_LOADER.NUM_WORKERS,
        pin_memory=config.DATA_LOADER.PIN_MEMORY and device.type == "cuda",
    )
    with JsonLog(folder.log) as log:

        def after_epoch(epoch: int) -> None:
            last = epoch + 1 == config.SOLVER.MAX_EPOCH
            if last or (epoch + 1) % config.TRAIN.CHECKPOINT_PERIOD == 0:
                _check_weights(model, epoch)
                content = {
                    "epoch": epoch,
                    "model_state": model.state_dict(),
                    "optimizer_state": optimizer.state_dict(),
                    "cfg": dump_config(config),
                    "label_names": list(label_names),
                }
                if average is not None:
                    content["ema_state"] = average.model.state_dict()
                if scaler.is_enabled():
                    content["scaler_state"] = scaler.state_dict()
                save_checkpoint(checkpoint_path(folder.checkpoints, epoch, config.TASK), content)
            if validation is not None and (last or (epoch + 1) % config.TRAIN.EVAL_PERIOD == 0):
                tested = model if average is None else average.model
                _validate(config, tested, validation, device, precision, epoch, log)

        fit(
            model,
            classification_of(config, precision),
            _readable(loader, videos),
            optimizer,
            schedule_of(config, plan),
            FitPlan(
                num_epochs=config.SOLVER.MAX_EPOCH,
                steps_per_epoch=plan.steps_per_epoch,
                passes_per_step=plan.passes_per_step,
                clips_per_step=plan.videos_per_step * config.AUG.NUM_SAMPLE,
                first_epoch=first_epoch,
                seed=config.RNG_SEED,
                clip_grad_value=config.SOLVER.CLIP_GRAD_VAL,
                clip_grad_norm=config.SOLVER.CLIP_GRAD_L2NORM,
                log_period=config.LOG_PERIOD,
                explosion_factor=config.TRAIN.KILL_LOSS_EXPLOSION_FACTOR,
            ),
            device=device,
            log=log,
            name_of=lambda index: str(videos.names[index]),
            after_epoch=after_epoch,
            after_step=(lambda: None) if average is None else (lambda: average.update(model)),
            scaler=scaler,
        )
    return list_checkpoints(folder.checkpoints, config.TASK)[-1]


def learning_rate_factor(config: Config, plan: StepPlan) -> float:
    """What the rates of the config are multiplied by.

    With SOLVER.REFERENCE_BATCH: clips in a global step over that number. With BASE_LR_SCALE_NUM_SHARDS: the machines.
    """
    if config.SOLVER.REFERENCE_BATCH:
        return plan.videos_per_step * config.AUG.NUM_SAMPLE / config.SOLVER.REFERENCE_BATCH
    return float(config.NUM_SHARDS) if config.SOLVER.BASE_LR_SCALE_NUM_SHARDS else 1.0


def schedule_of(config: Config, plan: StepPlan) -> Schedule:
    """The learning rate at each fractional epoch."""
    solver, factor = config.SOLVER, learning_rate_factor(config, plan)
    return make_schedule(
        solver.LR_POLICY,
        base=solver.BASE_LR * factor,
        max_epoch=solver.MAX_EPOCH,
        end=solver.COSINE_END_LR * factor,
        warmup_start=solver.WARMUP_START_LR * factor,
        warmup_epochs=solver.WARMUP_EPOCHS,
        cosine_after_warmup=solver.COSINE_AFTER_WARMUP,
        steps=solver.STEPS,
        factors=solver.LRS,
    )


def _optimizer(config: Config, model: nn.Module) -> Optimizer:
    solver = config.SOLVER
    no_decay_1d, no_decay_names = solver.ZERO_WD_1D_PARAM, NO_DECAY_NAMES if config.MVIT.ZERO_DECAY_POS_CLS else ()
    if solver.LAYER_DECAY < 1:
        groups = layer_decay_groups(
            model,
            solver.WEIGHT_DECAY,
            layer_decay=solver.LAYER_DECAY,
            depth=config.MVIT.DEPTH,
            no_decay_1d=no_decay_1d,
            no_decay_names=no_decay_names,
        )
    else:
        groups = parameter_groups(model, solver.WEIGHT_DECAY, no_decay_1d=no_decay_1d, no_decay_names=no_decay_names)
    return make_optimizer(
        solver.OPTIMIZING_METHOD,
        groups,
        momentum=solver.MOMENTUM,
        dampening=solver.DAMPENING,
        nesterov=solver.NESTEROV,
        betas=(solver.BETAS[0], solver.BETAS[1]),
        lars=solver.LARS_ON,
    )


@dataclass(frozen=True)
class _Start:
    """Where a training begins: its first epoch, and what the checkpoint that it goes on from says."""

    first_epoch: int = 0
    label_names: tuple[str, ...] = ()
    ema_state: Mapping[str, Any] | None = None
    source: str = ""


def _restore(
    config: Config, folder: RunFolder, model: nn.Module, optimizer: Optimizer, scaler: torch.amp.GradScaler
) -> _Start:
    """Load the weights to start from, or all that a run needs to go on."""
    newest = read_newest(folder.checkpoints, config.TASK) if config.TRAIN.AUTO_RESUME else None
    if newest is not None:
        path, content = newest
        try:
            report = load_weights(model, content, strict=True, name=str(path))
        except UserError as error:
            raise UserError(
                f"OUTPUT_DIR {folder.root} holds another model's run, use another OUTPUT_DIR: {error}"
            ) from error
        if report.resized:
            log_report(report)
        if "optimizer_state" in content:
            restore_optimizer(optimizer, content["optimizer_state"])
        if scaler.is_enabled() and "scaler_state" in content:
            scaler.load_state_dict(content["scaler_state"])
        epoch = int(content.get("epoch", -1)) + 1
        _LOG.info("going on after epoch %d from %s", epoch, path)
        changed = changed_keys(content["cfg"], config) if "cfg" in content else []
        if changed:
            _LOG.warning(
                "settings differ from those that %s was trained with (use another OUTPUT_DIR to start afresh): %s",
                path,
                "; ".join(changed),
            )
        return _Start(epoch, tuple(content.get("label_names", ())), content.get("ema_state"), str(path))
    if config.TRAIN.CHECKPOINT_FILE_PATH:
        source = config.TRAIN.CHECKPOINT_FILE_PATH
        content = read_source(source)
        state = _clear_names(unwrap(content, source), config.TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN)
        start = {"model_state": state, "metadata": content.get("metadata")}
        kernels = "repeat" if config.TRAIN.CHECKPOINT_IN_INIT else "centre"
        inflation = "mean" if config.TRAIN.CHECKPOINT_INFLATE else kernels
        log_report(load_weights(model, start, inflation=inflation, name=source))
        _LOG.info("starting from the weights of %s", source)
    return _Start()


def _average(config: Config, model: nn.Module, start: _Start) -> WeightAverage | None:
    """The average of the weights by SOLVER.EMA_DECAY, as the checkpoint left it, else begun with the model's weights."""
    if not config.SOLVER.EMA_DECAY:
        return None
    average = WeightAverage(model, config.SOLVER.EMA_DECAY)
    if start.ema_state is not None:
        load_weights(average.model, {"model_state": start.ema_state}, strict=True, name=f"ema_state of {start.source}")
    elif start.source:
        _LOG.warning("%s holds no averaged weights (ema_state): the average begins with its last weights", start.source)
    return average


def _check_weights(model: nn.Module, epoch: int) -> None:
    """A ruined model (its weights, or the statistics of batch normalisation) must not be gone on from."""
    if not all(torch.isfinite(tensor).all() for tensor in model.state_dict().values()):
        raise UserError(
            f"weights are no longer finite after epoch {epoch + 1}: lower SOLVER.BASE_LR or clip gradients "
            "(SOLVER.CLIP_GRAD_L2NORM); the last checkpoint is intact"
        )


def changed_keys(stored: str, config: Config) -> list[str]:
    """Settings of the training that differ from those of a checkpoint's ``cfg``, each as ``KEY old -> new``."""
    try:
        before = load_config_text(stored, "the checkpoint's config")
    except UserError:  # of another version or of PySlowFast: there is nothing to compare with
        return []
    return [
        f"{name} {get_value(before, name)} -> {get_value(config, name)}"
        for name in all_keys()
        if name.startswith(_TRAINING_KEYS) and get_value(before, name) != get_value(config, name)
    ]


def _clear_names(state: dict[str, Any], patterns: Iterable[str]) -> dict[str, Any]:
    """The state dict with the first occurrence of each text taken out of its names."""
    for pattern in patterns:
        state = {name.replace(pattern, "", 1): tensor for name, tensor in state.items()}
    return state


def _move_state(optimizer: Optimizer, device: torch.device) -> None:
    for state in optimizer.state.values():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and name != "step":
                state[name] = value.to(device)


def _announce(
    config: Config,
    model: nn.Module,
    videos: LabelledList,
    plan: StepPlan,
    precision: str,
    device: torch.device,
    first_epoch: int,
) -> None:
    if first_epoch >= config.SOLVER.MAX_EPOCH:
        _LOG.info("all %d epochs are trained already: nothing to do", config.SOLVER.MAX_EPOCH)
        return
    parameters = sum(parameter.numel() for parameter in model.parameters())
    clips = plan.videos_per_step * config.AUG.NUM_SAMPLE
    rate = config.SOLVER.BASE_LR * learning_rate_factor(config, plan)
    _LOG.info(
        "training %.1f M parameters on %s in %s: %d %s from %s, global batch %d %s, scaled LR %.3g, "
        "epochs %d to %d of %d steps",
        parameters / 1e6,
        device,
        precision,
        len(videos),
        "images" if isinstance(videos, ImageList) else "videos",
        videos.source,
        clips,
        "images" if isinstance(videos, ImageList) else "clips",
        rate,
        first_epoch + 1,
        config.SOLVER.MAX_EPOCH,
        plan.steps_per_epoch,
    )


def _validate(
    config: Config,
    model: nn.Module,
    videos: VideoList | ImageList,
    device: torch.device,
    precision: str,
    epoch: int,
    log: JsonLog,
) -> None:
    """Metrics on the val split by one centred clip and one centre crop."""
    one_crop = replace(
        config, TEST=replace(config.TEST, DATASET=config.TRAIN.DATASET, NUM_ENSEMBLE_VIEWS=1, NUM_SPATIAL_CROPS=1)
    )
    tested = evaluate_videos(one_crop, model, videos, view_protocol(one_crop), device, precision, "validation")
    metrics = metrics_of(tested.result)
    log.write("val", epoch=epoch + 1, **metrics, num_unreadable=len(tested.unreadable))
    _LOG.info("epoch %d: validation %s", epoch + 1, in_words(metrics))


def _readable(batches: Iterable[ClipBatch | UnreadableVideo], videos: LabelledList) -> Iterator[ClipBatch]:
    """Batches of a loader; a video that cannot be read stops the training with its name and cause."""
    for batch in batches:
        if isinstance(batch, UnreadableVideo):
            error = VideoError(batch.path, batch.backend, batch.cause)
            raise UserError(f"{error}; mend the file, or take it off {videos.source}")
        yield batch
