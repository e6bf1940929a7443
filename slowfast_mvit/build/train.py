"""Training by config: start or resume, then the loop, with validation and checkpoints between epochs."""

import logging
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from slowfast_mvit.build.bad_videos import BadVideos
from slowfast_mvit.build.course import TrainingCourse, Validate
from slowfast_mvit.build.data import has_split, step_plan
from slowfast_mvit.build.evaluate import evaluate_videos
from slowfast_mvit.build.fingerprint import check_same_lists
from slowfast_mvit.build.kinds import AnyList, list_of, protocol_of, to_test, to_train
from slowfast_mvit.build.length import is_over, num_epochs
from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.precision import set_precision
from slowfast_mvit.build.run import RunFolder
from slowfast_mvit.build.start import average_of, load_start, position_in, restore_training
from slowfast_mvit.config.load import dump_config
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.coco import CocoList
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.lists import LabelledList
from slowfast_mvit.data.loader import StepPlan, StepSampler, training_passes
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.log import JsonLog, Log, Logs, NoLog
from slowfast_mvit.engine.loop import Position, fit
from slowfast_mvit.engine.optimizer import layer_decay_groups, make_optimizer, parameter_groups
from slowfast_mvit.engine.parallel import bare, is_sharded, shard, spread
from slowfast_mvit.engine.step import FitPlan
from slowfast_mvit.engine.stopping import Stopped, StopRequest
from slowfast_mvit.engine.tensorboard import TensorBoardLog
from slowfast_mvit.evaluation.predictions import write_json
from slowfast_mvit.ops.schedule import Schedule, make_schedule

_LOG = logging.getLogger(__name__)

NO_DECAY_NAMES = ("cls_token", "rel_pos", "pos_embed")


def run_training(config: Config, device: torch.device, world: World = World()) -> Path:  # noqa: B008 - frozen
    """Train as the config says, on every rank, and return the last checkpoint.

    Goes on from the newest checkpoint in OUTPUT_DIR with TRAIN.AUTO_RESUME.

    Raises:
        UserError: among others, checkpoints of another run stand in OUTPUT_DIR and TRAIN.AUTO_RESUME is False.
        Stopped: SIGTERM or SIGUSR1 came, and a checkpoint is written.
    """
    folder = RunFolder(Path(config.OUTPUT_DIR))
    torch.manual_seed(config.RNG_SEED)
    model = build_model(config)
    start = load_start(config, folder, model, world)
    model.to(device)
    average = average_of(config, model, start)
    model = spread(model, world, device, config.DISTRIBUTED.STRATEGY)
    if average is not None and is_sharded(model):
        shard(average.model, device)
    optimizer = _optimizer(config, bare(model))
    precision = set_precision(config, device, training=True)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
    restore_training(start, optimizer, scaler)
    start = replace(start, content={"label_names": start.label_names})  # the checkpoint's tensors may go
    videos = list_of(config, "train", start.label_names)
    kind = to_train(config, videos, precision)
    validation = _val_videos(config, videos.label_names, world)
    check_same_lists({"training list": videos, "validation list": validation}, world)
    plan = step_plan(config, videos, world.size)
    position = position_in(start.position, plan.steps_per_epoch)
    _announce(config, model, videos, plan, precision, device, world, position)
    if world.is_main:
        write_json({name: number for number, name in enumerate(videos.label_names) if name}, folder.labels)
        if not is_over(config, position):
            folder.config.write_text(dump_config(config), encoding="utf-8")
    bad_videos = BadVideos(videos, config.DATA.MAX_BAD_VIDEOS)
    sampler = StepSampler(
        plan,
        seed=config.RNG_SEED,
        first_epoch=position.epoch,
        first_step=position.step,
        num_epochs=num_epochs(config, plan.steps_per_epoch),
        num_steps=config.SOLVER.MAX_STEPS,
        rank=world.rank,
    )
    passes = training_passes(
        kind.dataset,
        sampler,
        num_workers=config.DATA_LOADER.NUM_WORKERS,
        pin_memory=config.DATA_LOADER.PIN_MEMORY and device.type == "cuda",
        timeout=config.DATA_LOADER.TIMEOUT,
        collate=kind.collate,
    )
    with ExitStack() as stack:
        log = _open_log(config, folder, world, position, stack)
        stop = stack.enter_context(StopRequest())
        course = TrainingCourse(
            config,
            folder,
            world,
            model,
            optimizer,
            scaler,
            average,
            history=start.history,
            start=position if start.source else None,
            source=Path(start.source) if start.source else None,
            label_names=videos.label_names,
            bad_videos=bad_videos,
            validate=_validation(config, validation, device, precision, world, stop),
            log=log,
            stop=stop,
        )
        stack.enter_context(closing(passes))
        fit(
            model,
            kind.task,
            bad_videos.clips_of(passes),
            optimizer,
            schedule_of(config, plan),
            FitPlan(
                num_epochs=num_epochs(config, plan.steps_per_epoch),
                steps_per_epoch=plan.steps_per_epoch,
                passes_per_step=plan.passes_per_step,
                clips_per_step=plan.videos_per_step * config.AUG.NUM_SAMPLE,
                seed=config.RNG_SEED,
                clip_grad_value=config.SOLVER.CLIP_GRAD_VAL,
                clip_grad_norm=config.SOLVER.CLIP_GRAD_L2NORM,
                log_period=config.LOG_PERIOD,
                explosion_factor=config.TRAIN.KILL_LOSS_EXPLOSION_FACTOR,
                max_skipped=config.TRAIN.MAX_SKIPPED_STEPS,
                num_steps=config.SOLVER.MAX_STEPS,
            ),
            device=device,
            log=log,
            name_of=lambda index: str(videos.names[index]),
            course=course,
            world=world,
            blank=kind.blank if world.size > 1 else None,
            scaler=scaler,
            start=position,
        )
        number = max(world.everyones(stop.number))
        if number:  # it came after the last step
            raise Stopped(number, "the training is over; start the same command again for what comes after it")
    assert course.newest is not None  # the last epoch ends with one
    return course.newest


def _open_log(config: Config, folder: RunFolder, world: World, position: Position, stack: ExitStack) -> Log:
    """What the run says, in the files of rank 0; closed with the stack."""
    if not world.is_main:
        return NoLog()
    log = stack.enter_context(JsonLog(folder.log))
    if not config.TENSORBOARD.ENABLE:
        return log
    curves = folder.root / (config.TENSORBOARD.LOG_DIR or f"runs-{config.TRAIN.DATASET}")
    done = position.epoch * position.steps_per_epoch + position.step
    return Logs(log, stack.enter_context(TensorBoardLog(curves, done)))


def learning_rate_factor(config: Config, plan: StepPlan) -> float:
    """What the rates of the config are multiplied by.

    With SOLVER.REFERENCE_BATCH: clips in a global step over that number. With BASE_LR_SCALE_NUM_SHARDS: the machines.
    """
    if config.SOLVER.REFERENCE_BATCH:
        return plan.videos_per_step * config.AUG.NUM_SAMPLE / config.SOLVER.REFERENCE_BATCH
    return float(config.NUM_SHARDS) if config.SOLVER.BASE_LR_SCALE_NUM_SHARDS else 1.0


def schedule_of(config: Config, plan: StepPlan) -> Schedule:
    """The learning rate at each fractional epoch, or with SOLVER.MAX_STEPS at each number of steps."""
    solver, factor = config.SOLVER, learning_rate_factor(config, plan)
    return make_schedule(
        solver.LR_POLICY,
        base=solver.BASE_LR * factor,
        max_epoch=solver.MAX_STEPS or solver.MAX_EPOCH,
        end=solver.COSINE_END_LR * factor,
        warmup_start=solver.WARMUP_START_LR * factor,
        warmup_epochs=solver.WARMUP_STEPS if solver.MAX_STEPS else solver.WARMUP_EPOCHS,
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
        groups = parameter_groups(
            model,
            solver.WEIGHT_DECAY,
            no_decay_1d=no_decay_1d,
            no_decay_names=no_decay_names,
            no_decay_norms=solver.ZERO_WD_NORM,
        )
    return make_optimizer(
        solver.OPTIMIZING_METHOD,
        groups,
        momentum=solver.MOMENTUM,
        dampening=solver.DAMPENING,
        nesterov=solver.NESTEROV,
        betas=(solver.BETAS[0], solver.BETAS[1]),
        lars=solver.LARS_ON,
    )


def _announce(
    config: Config,
    model: nn.Module,
    videos: LabelledList,
    plan: StepPlan,
    precision: str,
    device: torch.device,
    world: World,
    position: Position,
) -> None:
    if not world.is_main:
        return
    if is_over(config, position):
        _LOG.info("all %d epochs are trained already: nothing to do", num_epochs(config, plan.steps_per_epoch))
        return
    parameters = sum(parameter.numel() for parameter in model.parameters())
    clips = plan.videos_per_step * config.AUG.NUM_SAMPLE
    rate = config.SOLVER.BASE_LR * learning_rate_factor(config, plan)
    _LOG.info(
        "training %s, %.1f M parameters, on %s in %s: %d %s from %s, global batch %d %s, scaled LR %.3g, "
        "epochs %d to %d of %d steps%s",
        config.MODEL.ARCH,
        parameters / 1e6,
        device if world.size == 1 else f"{world.size} x {device.type}",
        precision,
        len(videos),
        "images" if isinstance(videos, ImageList | CocoList) else "videos",
        videos.source,
        clips,
        "images" if isinstance(videos, ImageList | CocoList) else "clips",
        rate,
        position.epoch + 1 + (position.step == position.steps_per_epoch),
        num_epochs(config, plan.steps_per_epoch),
        plan.steps_per_epoch,
        f", up to step {config.SOLVER.MAX_STEPS}" if config.SOLVER.MAX_STEPS else "",
    )


def _val_videos(config: Config, label_names: tuple[str, ...], world: World) -> AnyList | None:
    """The val split, or None where the dataset has none."""
    if has_split(config, "val"):
        videos = list_of(config, "val", label_names)
        if not isinstance(videos, CocoList) or videos.annotated:
            return videos
        if world.is_main:
            _LOG.info("%s has no annotations: training without validation", videos.source)
    elif world.is_main:
        _LOG.info("%s has no val split: training without validation", config.DATA.PATH_TO_DATA_DIR)
    return None


def _validation(
    config: Config,
    videos: AnyList | None,
    device: torch.device,
    precision: str,
    world: World,
    stop: StopRequest,
) -> Validate | None:
    """What gives the metrics of the val split, by one centre crop of one clip, on rank 0; None without a split."""
    if videos is None:
        return None
    one_crop = replace(
        config, TEST=replace(config.TEST, DATASET=config.TRAIN.DATASET, NUM_ENSEMBLE_VIEWS=1, NUM_SPATIAL_CROPS=1)
    )

    protocol = protocol_of(one_crop, "val")
    metrics_of = to_test(one_crop, videos, protocol, precision, device).metrics

    def validate(model: nn.Module) -> Mapping[str, float] | None:
        tested = evaluate_videos(
            one_crop,
            model,
            videos,
            protocol,
            device,
            precision,
            "validation",
            world,
            stop_signal=lambda: stop.number,
        )
        return None if tested is None else {**metrics_of(tested.result), "num_unreadable": len(tested.unreadable)}

    return validate
